"""The container's side of a request, as the SageMaker SDK's ModelTrainer makes it: the image, the
entrypoint, and the driver files that it runs.

The SDK's job name, which would collide, and its 34 uploads per job are not used. It takes seconds
to load, so what it made is kept in the user's cache.
"""

import hashlib
import importlib.metadata
import json
import os
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from rlvr.errors import UserError
from rlvr.launchers.sagemaker.service import Service
from rlvr.launchers.sagemaker.settings import SageMakerSettings
from rlvr.result import write_atomic

# `exec` makes Python the process that SageMaker signals; bash would swallow SIGTERM
COMMAND = "exec $SM_PYTHON_CMD -m rlvr.launchers.sagemaker.bootstrap"
REQUIREMENTS = "requirements.txt"
CODE = "code.tar.gz"
CHANNEL = "sm_drivers"
FRAMEWORKS = ("pytorch", "pytorch-amzn2023")  # the SDK's names of the images
OLDEST = (2, 9)  # as in pyproject.toml


@dataclass
class SdkContainer:
    """`algorithm` is the request's AlgorithmSpecification, `drivers` the files of `CHANNEL`."""

    algorithm: dict[str, Any]
    drivers: dict[str, str]


def container(
    service: Service, bucket: str, settings: SageMakerSettings, instance_type: str
) -> SdkContainer:
    """From the user's cache, or from the SDK."""
    version = importlib.metadata.version("sagemaker")
    pip = REQUIREMENTS if settings.requirements else None
    torch = importlib.metadata.version("torch")
    chosen = f"{instance_type} {torch}" if settings.image == "auto" else settings.image
    kind = f"{version} {COMMAND} {pip} {service.region} {chosen}"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rlvr"
    file = cache / f"sagemaker-{hashlib.sha256(kind.encode()).hexdigest()[:24]}.json"
    if file.is_file():
        return SdkContainer(**json.loads(file.read_text(encoding="utf-8")))
    made = from_sdk(service, bucket, settings, instance_type)
    cache.mkdir(parents=True, exist_ok=True)
    write_atomic(file, json.dumps(asdict(made)))
    return made


def from_sdk(
    service: Service, bucket: str, settings: SageMakerSettings, instance_type: str
) -> SdkContainer:
    from sagemaker.core.helper.session_helper import Session
    from sagemaker.core.training.configs import Compute, SourceCode

    class Offline(Session):
        """The SDK's own would make the bucket where there is none."""

        def default_bucket(self) -> str:
            return bucket

    telemetry_off = {"SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}}}
    trainer = _trainer_class()(
        sagemaker_session=Offline(
            boto_session=service.session,
            sagemaker_client=service.sagemaker,
            sagemaker_config={"SchemaVersion": "1.0", **telemetry_off},
        ),
        role=settings.role,
        base_job_name="rlvr",
        training_image=resolve_image(settings.image, service.region, instance_type),
        compute=Compute(instance_type=instance_type, instance_count=1),
        # it stands in the driver files, so it must not change with the code or the bucket
        source_code=SourceCode(
            source_dir=f"s3://code/{CODE}",
            command=COMMAND,
            requirements=REQUIREMENTS if settings.requirements else None,
        ),
    )
    made: dict[str, Any] = trainer._create_training_job_args(boto3=True)
    return SdkContainer(made["AlgorithmSpecification"], trainer._drivers)


def resolve_image(image: str, region: str, instance_type: str) -> str:
    """`auto` is the PyTorch training image whose version is nearest to the torch that is here.

    Raises UserError where the installed SDK knows none for the region and the instance type.
    """
    if image != "auto":
        return image
    from sagemaker.core import image_uris

    here = _minor(importlib.metadata.version("torch"))
    known = [
        (framework, version)
        for framework in FRAMEWORKS
        for version in image_uris.config_for_framework(framework)["training"]["versions"]
        if _minor(version) >= OLDEST
    ]
    for framework, version in sorted(known, key=lambda found: _distance(_minor(found[1]), here)):
        try:
            return str(
                image_uris.retrieve(
                    framework,
                    region=region,
                    version=version,
                    image_scope="training",
                    instance_type=instance_type,
                )
            )
        except ValueError:
            continue  # not in this region, or not for this kind of instance
    raise UserError(
        f"the SageMaker SDK knows no PyTorch image for {instance_type} in {region}: name one with "
        "launcher.image=URI"
    )


def _minor(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def _distance(version: tuple[int, int], here: tuple[int, int]) -> tuple[int, int, bool]:
    """Of two that are equally far the older one, which knows no less than our pins need."""
    return abs(version[0] - here[0]), abs(version[1] - here[1]), version > here


@lru_cache
def _trainer_class() -> Any:
    """A ModelTrainer that keeps its driver files instead of uploading them."""
    from pydantic import PrivateAttr
    from sagemaker.train.model_trainer import ModelTrainer

    class KeepingDrivers(ModelTrainer):
        _drivers: dict[str, str] = PrivateAttr(default_factory=dict)

        def create_input_data_channel(
            self, channel_name: str, data_source: Any, *args: Any, **kwargs: Any
        ) -> Any:
            if channel_name == CHANNEL:
                root = Path(data_source)
                self._drivers = {
                    path.relative_to(root).as_posix(): path.read_text(encoding="utf-8")
                    for path in sorted(root.rglob("*"))
                    if path.is_file() and "__pycache__" not in path.parts
                }
                data_source = "s3://drivers/"
            return super().create_input_data_channel(channel_name, data_source, *args, **kwargs)

    return KeepingDrivers
