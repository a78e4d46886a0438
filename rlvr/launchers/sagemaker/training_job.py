"""A job on SageMaker: what the manifest keeps of its training job, and its way there."""

import hashlib
import re
import secrets
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from rlvr.errors import UserError
from rlvr.launchers.sagemaker import pricing
from rlvr.launchers.sagemaker.instances import has_local_storage, instance_for
from rlvr.launchers.sagemaker.settings import SageMakerSettings, spot_problem
from rlvr.manifest import Job
from rlvr.states import State
from rlvr.sweep import compose

if TYPE_CHECKING:
    from rlvr.launchers.sagemaker.logs import LogFollower

SWEEP_TAG = "rlvr.sweep"
INDEX_TAG = "rlvr.index"
LONGEST_NAME = 48
STOPPING = 120  # seconds that SageMaker gives, and bills, a job that it stops
_UNTAGGABLE = re.compile(r"[^\w\s.:/=+\-@]")


@dataclass
class TrainingJob:
    """The `remote` entry of a job: all it takes to find, follow, stop and collect it.

    `job_key` is its place in the bucket; `earlier` are the names of those submitted before it.
    """

    name: str
    region: str
    bucket: str
    job_key: str
    instance_type: str
    instance_count: int = 1
    spot: bool = False
    image: str = ""
    prices: str | None = None
    tracked: bool = True
    status: str = "Submitting"
    started: float | None = None
    training_seconds: int | None = None
    billable_seconds: int | None = None
    cost: float | None = None
    failure_reason: str | None = None
    git: dict[str, Any] | None = None
    earlier: list[str] = field(default_factory=list)
    note: str = ""
    kept_warm: bool = False
    volume_gb: int = 0  # bought, beside the disks of the instance
    idle_seconds: int = 0  # its instances were kept, and billed, after its end
    most: float | None = None  # US dollars that it may cost

    @classmethod
    def of(cls, job: Job) -> "TrainingJob":
        """Of a job that has been submitted, by whatever version of rlvr."""
        assert job.remote is not None
        known = {f.name for f in fields(cls)}
        return cls(**{key: value for key, value in job.remote.items() if key in known})

    def entry(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def output_key(self) -> str:
        """Where SageMaker puts output.tar.gz and model.tar.gz."""
        return f"{self.job_key}/output/{self.name}/output"

    @property
    def run_key(self) -> str:
        """The copy of the job's directory that SageMaker keeps up to date while the job runs."""
        return f"{self.job_key}/checkpoints/run"

    @property
    def state(self) -> State:
        return State.of_sagemaker(self.status)

    def update(self, described: dict[str, Any], now: float) -> None:
        """Take over what DescribeTrainingJob says. `now` is by the service's clock."""
        self.status = described["TrainingJobStatus"]
        self.failure_reason = described.get("FailureReason")
        start = described.get("TrainingStartTime")
        self.started = start.timestamp() if start else None
        self.training_seconds = described.get("TrainingTimeInSeconds")
        self.billable_seconds = described.get("BillableTimeInSeconds")
        by_itself = self.state in (State.finished, State.failed)
        self.note = self.status if by_itself else described["SecondaryStatus"]
        pool, end = described.get("WarmPoolStatus", {}), described.get("TrainingEndTime")
        self.kept_warm = pool.get("Status") == "Available"
        waits = int(now - end.timestamp()) if end and self.kept_warm else 0
        told = pool.get("ResourceRetainedBillableTimeInSeconds", 0)
        self.idle_seconds = max(waits, told, self.idle_seconds)
        self.cost = self._cost(now)

    def _cost(self, now: float) -> float | None:
        """So far while it runs, final once SageMaker has said what it bills."""
        seconds = self.billable_seconds
        if seconds is None:
            seconds = max(0, int(now - self.started)) if self.started else 0
        table = pricing.prices(self.prices)
        return table.cost(
            self.instance_type, self.instance_count, seconds + self.idle_seconds, self.volume_gb
        )


@dataclass
class Submission:
    """One job on its way, from waiting to the end of its log.

    `training` is None before its first request; `unsure` says that the answer to that was lost,
    so that the training job may exist. `due` is when to look at it next.
    """

    job: Job
    settings: SageMakerSettings
    config: dict[str, Any]
    training: TrainingJob | None = None
    unsure: bool = False
    capacity_failures: int = 0
    seconds_spent: int = 0  # by earlier training jobs of this controller
    follower: "LogFollower | None" = None
    due: float = 0.0
    collect_failures: int = 0
    unseen_since: float | None = None  # since then the service has not answered
    drained_by: float = 0.0

    @classmethod
    def of(cls, job: Job) -> "Submission":
        """Raises UserError for settings that are wrong."""
        config = compose.resolved(job.config)
        settings = SageMakerSettings.read(config.get("launcher") or {}, "sagemaker")
        if problem := spot_problem(settings, config):
            raise UserError(problem)
        return cls(job, settings, config)

    @property
    def instance_type(self) -> str:
        """As set, or what the run needs; after a CapacityError the next of the fallbacks."""
        fallbacks = self.settings.fallback_instance_types
        if self.capacity_failures and fallbacks:
            return fallbacks[min(self.capacity_failures, len(fallbacks)) - 1]
        return self._first_type

    @property
    def _first_type(self) -> str:
        chosen = self.settings.instance_type
        return instance_for(self.config.get("trainer") or {}) if chosen == "auto" else chosen

    @property
    def instance_types(self) -> list[str]:
        """All that it may run on."""
        return [self._first_type, *self.settings.fallback_instance_types]

    @property
    def environment(self) -> dict[str, str]:
        """What the user's own Hydra settings add to the job's."""
        own = OmegaConf.select(self.job.config, "hydra.job.env_set") or {}
        return {str(key): str(value) for key, value in own.items()}

    @property
    def seconds_left(self) -> int:
        """Of `launcher.max_runtime`, which all its training jobs share."""
        return max(1, self.settings.max_runtime - self.seconds_spent)

    @property
    def highest_cost(self) -> float | None:
        """US dollars if it runs to its time limit on the dearest of its instance types.

        Retries share the time limit; a warm pool and the seconds of stopping come on top. None
        where a price is not known.
        """
        s = self.settings
        seconds = self.seconds_left + STOPPING + (0 if s.spot else s.warm_pool)
        table = pricing.prices(s.prices)
        costs = [
            table.cost(
                kind, s.instance_count, seconds, 0 if has_local_storage(kind) else s.volume_gb
            )
            for kind in self.instance_types
        ]
        known = [cost for cost in costs if cost is not None]
        return max(known) if len(known) == len(costs) else None


def sweep_key(sweep_id: str) -> str:
    """Eight characters that stand for the sweep in job names."""
    return hashlib.sha256(sweep_id.encode()).hexdigest()[:8]


def job_name(project: str, sweep_id: str, index: int) -> str:
    """`<project>-<sweep key>-<index>-<random>`, at most 48 characters of [A-Za-z0-9-].

    The random end is for attempts: the service never lets a name be used again.
    """
    end = f"-{sweep_key(sweep_id)}-{index:03d}-{secrets.token_hex(3)}"
    start = re.sub(r"[^A-Za-z0-9]+", "-", project).strip("-") or "rlvr"
    return start[: LONGEST_NAME - len(end)].rstrip("-") + end


def tag_value(text: str) -> str:
    """`text` without Hydra's escapes and what else a tag may not hold, at most 256 characters."""
    return _UNTAGGABLE.sub(" ", text.replace("\\", ""))[:256].strip()
