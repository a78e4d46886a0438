"""The `launcher` node of conf/launcher/sagemaker.yaml, typed and checked."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlvr.errors import UserError
from rlvr.secret_patterns import is_secret
from rlvr.sweep.settings import Settings, bounded

ON_INTERRUPT = ("ask", "stop", "detach")
# One controller has one service, bucket and purse: these cannot differ among the jobs of a sweep.
OF_THE_SWEEP = (
    *("n_jobs", "notify", "project", "region", "regions", "bucket", "prefix", "kms_key"),
    *("max_cost", "prices", "poll_seconds", "on_interrupt", "detach", "dry_run"),
)


def _from_env(name: str) -> Any:
    return field(default_factory=lambda: os.environ.get(f"RLVR_SAGEMAKER_{name}"))


@dataclass
class SageMakerSettings(Settings):
    """Explained in the YAML. Times are seconds, volumes GB."""

    n_jobs: int = bounded(8, 1)
    project: str = "rlvr"
    role: str | None = _from_env("ROLE")
    region: str | None = None
    regions: list[str] = field(default_factory=list)
    bucket: str | None = _from_env("BUCKET")
    prefix: str = "rlvr"
    instance_type: str = "auto"
    fallback_instance_types: list[str] = field(default_factory=list)
    instance_count: int = bounded(1, 1)
    volume_gb: int = bounded(100, 1)
    image: str = "auto"
    max_runtime: int = bounded(18_000, 1)
    spot: bool = False
    on_demand_fallback: bool = False
    max_wait: int | None = None
    warm_pool: int = bounded(0, 0, 21_600)
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
    max_code_mb: int = bounded(50, 1)
    prices: str | None = None
    retries: int = bounded(3, 0)
    poll_seconds: float = field(
        default_factory=lambda: float(os.environ.get("RLVR_SAGEMAKER_POLL_SECONDS", "15"))
    )
    on_interrupt: str = "ask"
    detach: bool = False
    dry_run: bool = False

    @property
    def wait_limit(self) -> int:
        """The most seconds a spot job may take, waiting for capacity included."""
        return self.max_wait or 2 * self.max_runtime

    def problems(self, launcher: str) -> Iterator[str]:
        yield from super().problems(launcher)
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
        if self.poll_seconds <= 0:
            yield f"launcher.poll_seconds={self.poll_seconds}: must be above 0"
        if self.max_cost is not None and self.max_cost <= 0:
            yield f"launcher.max_cost={self.max_cost}: must be above 0 US dollars, or null"
        if self.on_interrupt not in ON_INTERRUPT:
            yield f"launcher.on_interrupt={self.on_interrupt}: must be {', '.join(ON_INTERRUPT)}"
        if self.spot and self.max_wait is not None and self.max_wait < self.max_runtime:
            yield f"launcher.max_wait={self.max_wait}: must be at least max_runtime"
        if bool(self.subnets) != bool(self.security_groups):
            yield "launcher.subnets and launcher.security_groups must be given together"
        if self.on_demand_fallback and not self.spot:
            yield "launcher.on_demand_fallback is what spot falls back to: set launcher.spot=true"
        if self.prices is not None and not Path(self.prices).expanduser().is_file():
            yield f"launcher.prices={self.prices}: no such file"
        yield from self._regional()
        yield from self._secrets()

    def _regional(self) -> Iterator[str]:
        """What is of one region cannot be used in several."""
        if self.bucket and re.sub(r"{region}", "", self.bucket).count("{"):
            yield f"launcher.bucket={self.bucket}: {{region}} is all that can be filled in"
        if not self.regions:
            return
        if self.bucket and "{region}" not in self.bucket:
            yield (
                "launcher.regions: a job reads from a bucket of its own region, so there must be "
                f"one in each: launcher.bucket='{self.bucket}-{{region}}', or null for SageMaker's "
                "default buckets"
            )
        for key in ("subnets", "kms_key", "volume_kms_key"):
            if getattr(self, key):
                yield f"launcher.{key} is of one region: leave it out, or launcher.regions"

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


def refuse_swept(every: Sequence[SageMakerSettings]) -> None:
    """UserError for jobs that differ in what holds for a whole sweep."""
    for key in OF_THE_SWEEP:
        values = list(dict.fromkeys(str(getattr(settings, key)) for settings in every))
        if len(values) > 1:
            raise UserError(
                f"launcher.{key} holds for a whole sweep and cannot be swept "
                f"({', '.join(values)}): start one sweep for each value"
            )


def spot_problem(settings: SageMakerSettings, config: dict[str, Any]) -> str | None:
    """Spot without checkpoints may never finish: every interruption starts from nothing."""
    trainer = config.get("trainer")
    if not settings.spot or not isinstance(trainer, dict):
        return None
    if trainer.get("save_minutes") or trainer.get("save_steps"):
        return None
    return "launcher.spot=true needs checkpoints: set trainer.save_minutes, such as 10"
