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

from rlvr.launchers.sagemaker.service import Service
from rlvr.launchers.sagemaker.settings import Settings
from rlvr.launchers.sagemaker.storage import read_tree
from rlvr.result import write_atomic

# `exec` makes Python the process that SageMaker signals; bash would swallow SIGTERM
COMMAND = "exec $SM_PYTHON_CMD -m rlvr.launchers.sagemaker.bootstrap"
REQUIREMENTS = "requirements.txt"
CODE = "code.tar.gz"
CHANNEL = "sm_drivers"


@dataclass
class SdkContainer:
    """`algorithm` is the request's AlgorithmSpecification, `drivers` the files of `CHANNEL`."""

    algorithm: dict[str, Any]
    drivers: dict[str, str]


def container(
    service: Service, bucket: str, settings: Settings, instance_type: str
) -> SdkContainer:
    """From the user's cache, or from the SDK."""
    version = importlib.metadata.version("sagemaker")
    pip = REQUIREMENTS if settings.requirements else None
    chosen = instance_type if settings.image == "auto" else settings.image
    kind = f"{version} {COMMAND} {pip} {service.region} {chosen}"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rlvr"
    file = cache / f"sagemaker-{hashlib.sha256(kind.encode()).hexdigest()[:24]}.json"
    if file.is_file():
        return SdkContainer(**json.loads(file.read_text(encoding="utf-8")))
    made = from_sdk(service, bucket, settings, instance_type)
    cache.mkdir(parents=True, exist_ok=True)
    write_atomic(file, json.dumps(asdict(made)))
    return made


def from_sdk(service: Service, bucket: str, settings: Settings, instance_type: str) -> SdkContainer:
    from sagemaker.core.helper.session_helper import Session
    from sagemaker.core.training.configs import Compute, SourceCode

    telemetry_off = {"SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}}}
    trainer = _trainer_class()(
        sagemaker_session=Session(
            boto_session=service.session,
            sagemaker_client=service.sagemaker,
            default_bucket=bucket,
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


@lru_cache
def resolve_image(image: str, region: str, instance_type: str) -> str:
    """`auto` is the newest PyTorch training image the installed SDK knows."""
    if image != "auto":
        return image
    from sagemaker.core import image_uris

    return str(
        image_uris.retrieve(
            "pytorch", region=region, image_scope="training", instance_type=instance_type
        )
    )


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
                tree = read_tree(Path(data_source))
                kept = {name: body for name, body in tree.items() if "__pycache__" not in name}
                self._drivers = {name: body.decode() for name, body in kept.items()}
                data_source = "s3://drivers/"
            return super().create_input_data_channel(channel_name, data_source, *args, **kwargs)

    return KeepingDrivers
