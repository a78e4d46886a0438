"""CreateTrainingJob requests, built by the SageMaker SDK's ModelTrainer.

The SDK does the parts that follow its own container scripts: entrypoint, driver files, resource and
network shapes. Ours are the job's name, which it would make collide, and every upload, of which it
would make 34 per job. Its work is done once per kind of job; the rest is filled in.
"""

import copy
import hashlib
import importlib.metadata
import json
import os
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from rlvr.launchers.sagemaker.constraints import check_request
from rlvr.launchers.sagemaker.naming import tags
from rlvr.launchers.sagemaker.service import Service
from rlvr.launchers.sagemaker.settings import Settings
from rlvr.launchers.sagemaker.storage import Storage, read_tree
from rlvr.result import write_atomic

CHECKPOINTS = "/opt/ml/checkpoints"
# `exec` makes Python the process that SageMaker signals; bash would swallow SIGTERM
COMMAND = "exec $SM_PYTHON_CMD -m rlvr.launchers.sagemaker.bootstrap"
REQUIREMENTS = "requirements.txt"
CODE = "code.tar.gz"


@dataclass(frozen=True)
class JobSpec:
    """What differs between the jobs of a sweep. URIs of channels end in /, one per channel."""

    name: str
    instance_type: str
    code_uri: str
    channels: dict[str, str]
    output_uri: str
    checkpoint_uri: str
    environment: dict[str, str]
    tags: dict[str, str]


@dataclass
class RequestBuilder:
    """Builds requests for jobs on one service and bucket."""

    service: Service
    storage: Storage
    _templates: dict[str, dict[str, Any]] = field(default_factory=dict)

    def build(self, spec: JobSpec, settings: Settings) -> dict[str, Any]:
        """The checked request; uploads the SDK's driver files unless they are there already."""
        request = copy.deepcopy(self._template(spec, settings))
        channels = {"code": spec.code_uri, **spec.channels}
        request["TrainingJobName"] = spec.name
        request["InputDataConfig"] += [_channel(*item) for item in channels.items()]
        request["OutputDataConfig"]["S3OutputPath"] = spec.output_uri
        request["CheckpointConfig"] = {"S3Uri": spec.checkpoint_uri, "LocalPath": CHECKPOINTS}
        request["Environment"] = spec.environment
        request["Tags"] = tags(spec.tags)
        check_request(request, self.service.sagemaker.meta.service_model)
        return request

    def _template(self, spec: JobSpec, settings: Settings) -> dict[str, Any]:
        """From memory, from the user's cache (the SDK takes seconds to load), or from the SDK."""
        kind = f"{spec.instance_type} {self.storage.uri()} {self.service.region} {settings}"
        if kind not in self._templates:
            file = _cache_file(kind)
            made = _read_cached(file, self.storage)
            if made is None:
                made = _from_sdk(spec, settings, self.service, self.storage)
                if not self.storage.dry:
                    file.parent.mkdir(parents=True, exist_ok=True)
                    write_atomic(file, json.dumps(made))
            self._templates[kind] = made
        return self._templates[kind]


def _cache_file(kind: str) -> Path:
    """One per SDK version, place and settings."""
    version = importlib.metadata.version("sagemaker")
    digest = hashlib.sha256(f"{version} {COMMAND} {kind}".encode()).hexdigest()[:24]
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "rlvr" / f"sagemaker-{digest}.json"


def _read_cached(file: Path, storage: Storage) -> dict[str, Any] | None:
    """None unless the driver files that the template names are on S3."""
    if not file.is_file():
        return None
    made: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    uri = made["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"]
    return made if storage.has_once(uri) else None


def _from_sdk(
    spec: JobSpec, settings: Settings, service: Service, storage: Storage
) -> dict[str, Any]:
    trainer = _trainer_class()(
        sagemaker_session=_session(service, storage.bucket),
        role=settings.role,
        base_job_name=spec.name,
        training_image=resolve_image(settings.image, service.region, spec.instance_type),
        **_parts(spec, settings, storage),
    )
    trainer._rlvr_storage = storage
    made: dict[str, Any] = trainer._create_training_job_args(boto3=True)
    drivers = [c for c in made["InputDataConfig"] if c["ChannelName"] == "sm_drivers"]
    kept = {key: value for key, value in made.items() if value not in (None, [], {})}
    return kept | {"InputDataConfig": drivers}


def _channel(name: str, uri: str) -> dict[str, Any]:
    source = {
        "S3DataType": "S3Prefix",
        "S3Uri": uri,
        "S3DataDistributionType": "FullyReplicated",
    }
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, "InputMode": "File"}


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


def _parts(spec: JobSpec, settings: Settings, storage: Storage) -> dict[str, Any]:
    from sagemaker.core.training.configs import OutputDataConfig, SourceCode, StoppingCondition

    return {
        "source_code": SourceCode(
            # stands in the driver files, so it must not change with the code: see `build`
            source_dir=storage.uri("code", CODE),
            command=COMMAND,
            requirements=REQUIREMENTS if settings.requirements else None,
        ),
        "compute": _compute(spec, settings),
        "networking": _networking(settings),
        "stopping_condition": StoppingCondition(
            max_runtime_in_seconds=settings.max_runtime,
            max_wait_time_in_seconds=settings.wait_limit if settings.spot else None,
        ),
        "output_data_config": OutputDataConfig(
            s3_output_path=spec.output_uri, compression_type="GZIP", kms_key_id=settings.kms_key
        ),
    }


def _compute(spec: JobSpec, settings: Settings) -> Any:
    from sagemaker.core.training.configs import Compute

    keep = settings.warm_pool if settings.warm_pool and not settings.spot else None
    return Compute(
        instance_type=spec.instance_type,
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

    class Trainer(ModelTrainer):
        _rlvr_storage: Any = PrivateAttr(default=None)

        def create_input_data_channel(
            self, channel_name: str, data_source: Any, *args: Any, **kwargs: Any
        ) -> Any:
            if isinstance(data_source, str) and not data_source.startswith("s3://"):
                tree = read_tree(Path(data_source))
                kept = {n: b for n, b in tree.items() if "__pycache__" not in n}
                data_source = self._rlvr_storage.put_once("drivers", kept)
            return super().create_input_data_channel(channel_name, data_source, *args, **kwargs)

    return Trainer
