"""The part of a request that belongs to the SageMaker SDK's own container scripts: its
ModelTrainer fills in entrypoint, driver files, resource and network shapes.

Ours are the job's name, which it would make collide, and every upload, of which it would make 34
per job. Its work is done once per kind of job; `rlvr.launchers.sagemaker.request` adds the rest.
"""

import hashlib
import importlib.metadata
import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from rlvr.launchers.sagemaker.service import Service
from rlvr.launchers.sagemaker.settings import Settings
from rlvr.launchers.sagemaker.storage import Storage, read_tree
from rlvr.result import write_atomic

# `exec` makes Python the process that SageMaker signals; bash would swallow SIGTERM
COMMAND = "exec $SM_PYTHON_CMD -m rlvr.launchers.sagemaker.bootstrap"
REQUIREMENTS = "requirements.txt"
CODE = "code.tar.gz"


def template(
    service: Service, storage: Storage, settings: Settings, instance_type: str
) -> dict[str, Any]:
    """From the user's cache (the SDK takes seconds to load), or from the SDK.

    Its driver files are on S3 then; name, channels, output, environment and tags are missing.
    """
    version = importlib.metadata.version("sagemaker")
    kind = f"{version} {COMMAND} {instance_type} {storage.uri()} {service.region} {settings}"
    file = _cache_folder() / f"sagemaker-{hashlib.sha256(kind.encode()).hexdigest()[:24]}.json"
    if (cached := _read_cached(file, storage)) is not None:
        return cached
    made = _from_sdk(service, storage, settings, instance_type)
    if not storage.dry:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, json.dumps(made))
    return made


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rlvr"


def _read_cached(file: Path, storage: Storage) -> dict[str, Any] | None:
    """None unless the driver files that the template names are on S3."""
    if not file.is_file():
        return None
    made: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    uri = made["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"]
    return made if storage.has_once(uri) else None


def _from_sdk(
    service: Service, storage: Storage, settings: Settings, instance_type: str
) -> dict[str, Any]:
    trainer = _trainer_class()(
        sagemaker_session=_session(service, storage.bucket),
        role=settings.role,
        base_job_name="rlvr",
        training_image=resolve_image(settings.image, service.region, instance_type),
        **_parts(storage, settings, instance_type),
    )
    trainer._rlvr_storage = storage
    made: dict[str, Any] = trainer._create_training_job_args(boto3=True)
    drivers = [c for c in made["InputDataConfig"] if c["ChannelName"] == "sm_drivers"]
    kept = {key: value for key, value in made.items() if value not in (None, [], {})}
    del kept["TrainingJobName"]
    return kept | {"InputDataConfig": drivers}


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


def _parts(storage: Storage, settings: Settings, instance_type: str) -> dict[str, Any]:
    from sagemaker.core.training.configs import OutputDataConfig, SourceCode, StoppingCondition

    return {
        "source_code": SourceCode(
            # stands in the driver files, so it must not change with the code: see `request`
            source_dir=storage.uri("code", CODE),
            command=COMMAND,
            requirements=REQUIREMENTS if settings.requirements else None,
        ),
        "compute": _compute(settings, instance_type),
        "networking": _networking(settings),
        "stopping_condition": StoppingCondition(
            max_runtime_in_seconds=settings.max_runtime,
            max_wait_time_in_seconds=settings.wait_limit if settings.spot else None,
        ),
        "output_data_config": OutputDataConfig(
            s3_output_path=storage.uri("output"),
            compression_type="GZIP",
            kms_key_id=settings.kms_key,
        ),
    }


def _compute(settings: Settings, instance_type: str) -> Any:
    from sagemaker.core.training.configs import Compute

    keep = settings.warm_pool if settings.warm_pool and not settings.spot else None
    return Compute(
        instance_type=instance_type,
        instance_count=settings.instance_count,
        volume_size_in_gb=settings.volume_gb,
        volume_kms_key_id=settings.volume_kms_key,
        keep_alive_period_in_seconds=keep,
        enable_managed_spot_training=settings.spot or None,
    )


def _networking(settings: Settings) -> Any:
    from sagemaker.core.training.configs import Networking

    if not (settings.subnets or settings.network_isolation or settings.encrypt_traffic):
        return None
    return Networking(
        subnets=settings.subnets or None,
        security_group_ids=settings.security_groups or None,
        enable_network_isolation=settings.network_isolation or None,
        enable_inter_container_traffic_encryption=settings.encrypt_traffic or None,
    )


def _session(service: Service, bucket: str) -> Any:
    from sagemaker.core.helper.session_helper import Session

    quiet = {
        "SchemaVersion": "1.0",
        "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}},
    }
    return Session(
        boto_session=service.session,
        sagemaker_client=service.sagemaker,
        default_bucket=bucket,
        sagemaker_config=quiet,
    )


@lru_cache
def _trainer_class() -> Any:
    """ModelTrainer whose local channels (the SDK's drivers) are uploaded once per content."""
    from pydantic import PrivateAttr
    from sagemaker.train.model_trainer import ModelTrainer

    class UploadingOnce(ModelTrainer):
        _rlvr_storage: Any = PrivateAttr(default=None)

        def create_input_data_channel(
            self, channel_name: str, data_source: Any, *args: Any, **kwargs: Any
        ) -> Any:
            if isinstance(data_source, str) and not data_source.startswith("s3://"):
                tree = read_tree(Path(data_source))
                kept = {n: b for n, b in tree.items() if "__pycache__" not in n}
                data_source = self._rlvr_storage.put_once("drivers", kept)
            return super().create_input_data_channel(channel_name, data_source, *args, **kwargs)

    return UploadingOnce
