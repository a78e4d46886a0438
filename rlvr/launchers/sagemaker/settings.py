"""The `launcher` node of conf/launcher/sagemaker.yaml, typed and checked."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import ValidationError

from rlvr.errors import UserError
from rlvr.secret_patterns import is_secret

ON_INTERRUPT = ("ask", "stop", "detach")
# One controller has one service, bucket and purse: these cannot differ among the jobs of a sweep.
OF_THE_SWEEP = (
    *("n_jobs", "project", "region", "bucket", "prefix", "kms_key", "max_cost", "prices"),
    *("poll_seconds", "on_interrupt", "dry_run"),
)


def _from_env(name: str) -> Any:
    return field(default_factory=lambda: os.environ.get(f"RLVR_SAGEMAKER_{name}"))


@dataclass
class Settings:
    """One job's launcher settings, explained in the YAML. Times are seconds, volumes GB."""

    name: str = "sagemaker"
    resume: str | None = None
    extend: bool = False
    n_jobs: int = 8
    project: str = "rlvr"
    role: str | None = _from_env("ROLE")
    region: str | None = None
    bucket: str | None = _from_env("BUCKET")
    prefix: str = "rlvr"
    instance_type: str = "auto"
    fallback_instance_types: list[str] = field(default_factory=list)
    instance_count: int = 1
    volume_gb: int = 100
    image: str = "auto"
    max_runtime: int = 18_000
    spot: bool = False
    max_wait: int | None = None
    warm_pool: int = 0
    max_cost: float | None = None
    subnets: list[str] = field(default_factory=list)
    security_groups: list[str] = field(default_factory=list)
    network_isolation: bool = False
    encrypt_traffic: bool = False
    kms_key: str | None = None
    volume_kms_key: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    multi_node_environment: dict[str, str] = field(default_factory=dict)
    hf_token_secret: str | None = None
    requirements: str | None = field(
        default_factory=lambda: os.environ.get("RLVR_SAGEMAKER_REQUIREMENTS", "auto") or None
    )
    extra_requirements: list[str] = field(default_factory=list)
    exclude: list[str] = field(default_factory=list)
    max_code_mb: int = 50
    prices: str | None = None
    retries: int = 3
    poll_seconds: float = field(
        default_factory=lambda: float(os.environ.get("RLVR_SAGEMAKER_POLL_SECONDS", "15"))
    )
    on_interrupt: str = "ask"
    dry_run: bool = False

    @classmethod
    def read(cls, node: dict[str, Any]) -> "Settings":
        """Raises one UserError that lists everything wrong with the node."""
        typed = OmegaConf.structured(cls)
        problems = []
        for key, value in node.items():
            if key not in KEYS:
                problems.append(f"launcher.{key} is not a setting of the sagemaker launcher")
                continue
            try:
                typed[key] = value
            except ValidationError:
                problems.append(f"launcher.{key}={value}: must be {TYPES[key]}")
        if not problems:
            settings = OmegaConf.to_object(typed)
            assert isinstance(settings, cls)
            problems = list(settings._problems())
            if not problems:
                return settings
        raise UserError("invalid launcher settings:\n" + "\n".join(f"  {p}" for p in problems))

    @property
    def wait_limit(self) -> int:
        """The most seconds a spot job may take, waiting for capacity included."""
        return self.max_wait or 2 * self.max_runtime

    def _problems(self) -> Iterator[str]:
        if not self.role:
            yield (
                "launcher.role is not set: give the ARN of the role the jobs run as, by "
                "launcher.role=ARN or the environment variable RLVR_SAGEMAKER_ROLE"
            )
        elif not re.fullmatch(r"arn:aws[\w-]*:iam::\d{12}:role/[\w+=,.@/-]+", self.role):
            yield (
                f"launcher.role={self.role}: expected the role's ARN, such as "
                "arn:aws:iam::123456789012:role/NAME"
            )
        secret = r"arn:aws[\w-]*:secretsmanager:[\w-]+:\d{12}:secret:.+"
        if self.hf_token_secret and not re.fullmatch(secret, self.hf_token_secret):
            yield (
                "launcher.hf_token_secret: expected the ARN of a secret in AWS Secrets Manager, "
                "not its name and never the token itself"
            )
        for key in ("n_jobs", "instance_count", "volume_gb", "max_runtime", "max_code_mb"):
            if getattr(self, key) < 1:
                yield f"launcher.{key}={getattr(self, key)}: must be at least 1"
        if self.poll_seconds <= 0:
            yield f"launcher.poll_seconds={self.poll_seconds}: must be above 0"
        if self.max_cost is not None and self.max_cost <= 0:
            yield f"launcher.max_cost={self.max_cost}: must be above 0 US dollars, or null"
        if not 0 <= self.warm_pool <= 21_600:
            yield f"launcher.warm_pool={self.warm_pool}: must be 0 (off) to 21600 seconds"
        if self.on_interrupt not in ON_INTERRUPT:
            yield f"launcher.on_interrupt={self.on_interrupt}: must be {', '.join(ON_INTERRUPT)}"
        if self.spot and self.max_wait is not None and self.max_wait < self.max_runtime:
            yield f"launcher.max_wait={self.max_wait}: must be at least max_runtime"
        if bool(self.subnets) != bool(self.security_groups):
            yield "launcher.subnets and launcher.security_groups must be given together"
        yield from self._secrets()

    def _secrets(self) -> Iterator[str]:
        """Anyone who may describe a job reads its environment and tags."""
        for where in ("environment", "multi_node_environment", "tags"):
            for key, value in getattr(self, where).items():
                if is_secret(key, value):
                    yield (
                        f"launcher.{where}.{key} looks like a secret, and whoever may describe the "
                        "job could read it: put it into AWS Secrets Manager (for the Hugging Face "
                        "token: launcher.hf_token_secret=ARN)"
                    )


def refuse_swept(every: Sequence["Settings"]) -> None:
    """UserError for jobs that differ in what holds for a whole sweep."""
    for key in OF_THE_SWEEP:
        values = list(dict.fromkeys(str(getattr(settings, key)) for settings in every))
        if len(values) > 1:
            raise UserError(
                f"launcher.{key} holds for a whole sweep and cannot be swept "
                f"({', '.join(values)}): start one sweep for each value"
            )


def spot_problem(settings: Settings, config: dict[str, Any]) -> str | None:
    """Spot without checkpoints may never finish: every interruption starts from nothing."""
    trainer = config.get("trainer")
    if not settings.spot or not isinstance(trainer, dict):
        return None
    if trainer.get("save_minutes") or trainer.get("save_steps"):
        return None
    return "launcher.spot=true needs checkpoints: set trainer.save_minutes, such as 10"


# As people read them: `str or null`.
TYPES = {
    f.name: str(getattr(f.type, "__name__", f.type)).replace(" | None", " or null")
    for f in fields(Settings)
}
KEYS = frozenset(TYPES)
