"""From the jobs of a sweep to requests: what they share is uploaded once, before the first."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlvr.launchers.sagemaker import naming, packing, payload, requirements
from rlvr.launchers.sagemaker.request import CODE, REQUIREMENTS, JobSpec, RequestBuilder
from rlvr.launchers.sagemaker.service import Service
from rlvr.launchers.sagemaker.settings import Settings
from rlvr.launchers.sagemaker.storage import Storage
from rlvr.launchers.sagemaker.training_job import INDEX_TAG, SWEEP_TAG, TrainingJob
from rlvr.paths import PROJECT

# GPUs of a single instance, for `instance_type: auto`
AUTO = ((1, "ml.g6.2xlarge"), (4, "ml.g6.12xlarge"), (8, "ml.g6.48xlarge"))
DEFAULT_TAGS = {
    "source.job": "grpo-rlvr",
    "source.type": "hydra-sweep",
    "source.framework": "rlvr",
}


def choose_instance(settings: Settings, config: dict[str, Any]) -> str:
    """`auto`: the smallest L4 instance with as many GPUs as the run asks for, else with one."""
    if settings.instance_type != "auto":
        return settings.instance_type
    trainer = config.get("trainer") or {}
    several = str(trainer.get("distributed")) in ("ddp", "zero3")
    wanted = trainer.get("num_processes") or (8 if several else 1)
    return next((kind for gpus, kind in AUTO if gpus >= wanted), AUTO[-1][1])


@dataclass
class Submission:
    """Everything needed to build the request of any job of one sweep."""

    service: Service
    storage: Storage
    sweep_id: str
    builder: RequestBuilder = field(init=False)
    _codes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.builder = RequestBuilder(self.service, self.storage)

    def pack(self, settings: Settings, *, tracked: bool, deepspeed: bool) -> packing.Archive | None:
        """Pack and upload the code these settings ask for; None if that has been done."""
        if _code_kind(settings) in self._codes:
            return None
        root = PROJECT
        extra = {}
        if settings.requirements == "auto":
            extra[REQUIREMENTS] = requirements.pinned(
                root, tracking=tracked, deepspeed=deepspeed, extra=settings.extra_requirements
            )
        elif settings.requirements:
            extra[REQUIREMENTS] = Path(settings.requirements).expanduser().read_text("utf-8")
        archive = packing.pack(
            root, exclude=settings.exclude, extra=extra, max_mb=settings.max_code_mb
        )
        self._codes[_code_kind(settings)] = self.storage.put_once("code", {CODE: archive.data})
        return archive

    def remote(
        self, index: int, config_hash: str, settings: Settings, config: dict[str, Any]
    ) -> TrainingJob:
        """A new submission of job `index`, under a name never used before.

        Submissions of the same config share their place on S3, and so their checkpoints.
        """
        place = f"{index:03d}-{config_hash[:8]}"
        return TrainingJob(
            name=naming.job_name(settings.project, self.sweep_id, index),
            region=self.service.region,
            bucket=self.storage.bucket,
            job_key=self.storage.key("sweeps", self.sweep_id, place),
            instance_type=choose_instance(settings, config),
            instance_count=settings.instance_count,
            spot=settings.spot,
            prices=settings.prices,
        )

    def request(
        self,
        remote: TrainingJob,
        settings: Settings,
        made: payload.Payload,
        *,
        index: int,
        overrides: list[str],
        environment: dict[str, str],
    ) -> dict[str, Any]:
        """Upload what is the job's own, and build its request."""
        key = remote.job_key.removeprefix(self.storage.prefix).strip("/")
        channels = payload.upload(made, self.storage, key, "input")
        base = f"s3://{remote.bucket}/{remote.job_key}"
        spec = JobSpec(
            name=remote.name,
            instance_type=remote.instance_type,
            code_uri=self._codes[_code_kind(settings)],
            channels=channels,
            output_uri=f"{base}/output",
            checkpoint_uri=f"{base}/checkpoints",
            environment=_environment(settings, environment),
            tags=_tags(settings, self.sweep_id, index, overrides),
        )
        request = self.builder.build(spec, settings)
        remote.image = request["AlgorithmSpecification"]["TrainingImage"]
        return request


def _code_kind(settings: Settings) -> str:
    return f"{settings.requirements} {settings.extra_requirements} {settings.exclude}"


def _environment(settings: Settings, added: dict[str, str]) -> dict[str, str]:
    several = settings.multi_node_environment if settings.instance_count > 1 else {}
    # the ARN, not the secret: the container fetches it with its own role
    token = {"RLVR_HF_TOKEN_ARN": settings.hf_token_secret} if settings.hf_token_secret else {}
    return {**several, **settings.environment, **token, **added}


def _tags(settings: Settings, sweep_id: str, index: int, overrides: list[str]) -> dict[str, str]:
    own = {
        SWEEP_TAG: sweep_id,
        INDEX_TAG: str(index),
        "rlvr.overrides": " ".join(overrides),
    }
    return {**DEFAULT_TAGS, **settings.tags, **own}
