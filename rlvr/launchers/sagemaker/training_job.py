"""A job on SageMaker: what the manifest keeps of its training job, and its way there."""

import hashlib
import itertools
import os
import re
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from rlvr.errors import UserError
from rlvr.launchers.sagemaker import pricing
from rlvr.launchers.sagemaker.places import Place, places
from rlvr.launchers.sagemaker.settings import SageMakerSettings, spot_problem
from rlvr.manifest import Job
from rlvr.states import State
from rlvr.sweep import compose

if TYPE_CHECKING:
    from rlvr.launchers.sagemaker.logs import LogFollower

SWEEP_TAG = "rlvr.sweep"
INDEX_TAG = "rlvr.index"
LONGEST_NAME = 58  # of 63, without the number of the attempt
STOPPING = 120  # seconds that SageMaker gives, and bills, a job that it stops
_UNTAGGABLE = re.compile(r"[^\w\s.:/=+\-@]")


@dataclass
class TrainingJob:
    """The `remote` entry of a job: all it takes to find, follow, stop and collect it.

    `job_key` is its folder in the bucket. `hourly` are the US dollars of its instances, and
    `hourly_disks` those of their disks, which no discount of spot is for. `pool` says that its
    instances may be kept, and billed, after its end.
    """

    name: str
    region: str
    bucket: str
    job_key: str
    instance_type: str
    instance_count: int = 1
    spot: bool = False
    image: str = ""
    hourly: float | None = None
    hourly_disks: float = 0.0
    pool: bool = False
    tracked: bool = True
    status: str = "Submitting"
    started: float | None = None
    training_seconds: int | None = None
    billable_seconds: int | None = None
    cost: float | None = None
    failure_reason: str | None = None
    git: dict[str, Any] | None = None
    note: str = ""
    kept_warm: bool = False
    idle_seconds: int = 0  # its instances were kept, and billed, after its end
    most: float | None = None  # US dollars that it may cost

    @classmethod
    def of(cls, job: Job) -> "TrainingJob":
        """Of a job that has been submitted, by whatever version of rlvr."""
        assert job.remote is not None
        return cls.read(job.remote)

    @classmethod
    def last(cls, job: Job) -> "TrainingJob | None":
        """The one that the job has, or had last; None for a job that never had one."""
        every = [*job.attempts, *filter(None, [job.remote])]
        return cls.read(every[-1]) if every and "job_key" in every[-1] else None

    @classmethod
    def every(cls, job: Job) -> "list[TrainingJob]":
        """Of all attempts at the job that were for SageMaker, the last one last."""
        entries = [*job.attempts, *filter(None, [job.remote])]
        return [cls.read(entry) for entry in entries if "job_key" in entry]

    @classmethod
    def read(cls, entry: dict[str, Any]) -> "TrainingJob":
        known = {f.name for f in fields(cls)}
        return cls(**{key: value for key, value in entry.items() if key in known})

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
        if self.hourly is None:
            return None
        so_far = max(0, int(now - self.started)) if self.started else 0
        billed = so_far if self.billable_seconds is None else self.billable_seconds
        used = so_far if self.training_seconds is None else self.training_seconds
        instances = self.hourly * (billed + self.idle_seconds)
        return round((instances + self.hourly_disks * (used + self.idle_seconds)) / 3600, 4)


@dataclass
class Ready:
    """A request for one place, which lacks the number of the attempt and the time that is left."""

    place: Place
    training: TrainingJob
    request: dict[str, Any]


@dataclass
class Submission:
    """One job on its way, from waiting to the end of its log.

    `training` is None before its first request; `unsure` says that the answer to that was lost,
    so that the training job may exist. `due` is when to look at it next.
    """

    job: Job
    settings: SageMakerSettings
    config: dict[str, Any]
    places: list[Place]
    ready: list[Ready] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)  # of the job's own channel
    training: TrainingJob | None = None
    unsure: bool = False
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
        region = settings.region or os.environ.get("AWS_REGION", "")  # until AWS has been asked
        return cls(job, settings, config, places(settings, config, region))

    @property
    def retried(self) -> list[dict[str, Any]]:
        """The attempts that SageMaker could not run, or not to their end, since a user asked."""
        last = itertools.takewhile(lambda attempt: "retry" in attempt, reversed(self.job.attempts))
        return list(last)

    @property
    def turn(self) -> int:
        """After each lack of capacity the next place, and after the last one the first again."""
        return len(self.retried) % len(self.places)

    @property
    def next(self) -> Ready:
        return self.ready[self.turn]

    @property
    def has_untried_place(self) -> bool:
        return len(self.retried) < len(self.places) - 1

    @property
    def may_be_retried(self) -> bool:
        """`launcher.retries` times, and at each place once."""
        return self.has_untried_place or len(self.retried) < self.settings.retries

    @property
    def seconds_left(self) -> int:
        """Of `launcher.max_runtime`, which all its attempts share."""
        spent = sum(attempt.get("training_seconds") or 0 for attempt in self.retried)
        return max(1, self.settings.max_runtime - spent)

    @property
    def environment(self) -> dict[str, str]:
        """What the user's own Hydra settings add to the job's."""
        own = OmegaConf.select(self.job.config, "hydra.job.env_set") or {}
        return {str(key): str(value) for key, value in own.items()}

    @property
    def highest_cost(self) -> float | None:
        """US dollars if it runs to its time limit at the dearest of its places.

        Attempts share the time limit; a warm pool and the seconds of stopping come on top. None
        where a price is not known.
        """
        warm = 0 if all(place.spot for place in self.places) else self.settings.warm_pool
        seconds = self.seconds_left + STOPPING + warm
        costs = [self.hourly(place) for place in self.places]
        known = [sum(cost) for cost in costs if cost is not None]
        return round(max(known) * seconds / 3600, 4) if len(known) == len(costs) else None

    def hourly(self, place: Place) -> tuple[float, float] | None:
        """US dollars of the instances, and of their disks; None for a place without a price.

        Once the requests are made by the prices of then, whichever machine goes on with them.
        """
        made = next((ready.training for ready in self.ready if ready.place == place), None)
        if made is not None:
            return None if made.hourly is None else (made.hourly, made.hourly_disks)
        table, s = pricing.prices(place.region, self.settings.prices), self.settings
        if table is None:
            return None
        return table.hourly(place.instance_type, s.instance_count, s.volume_gb)


def sweep_key(sweep_id: str) -> str:
    """Eight characters that stand for the sweep in job names."""
    return hashlib.sha256(sweep_id.encode()).hexdigest()[:8]


def job_name(project: str, sweep_id: str, job: Job) -> str:
    """`<project>-<sweep key>-<index>-<hash>`, at most 58 characters of [A-Za-z0-9-].

    It follows from the job, and the service never lets a name be used again: with the number of
    the attempt behind it, no two controllers can start the same attempt twice.
    """
    end = f"-{sweep_key(sweep_id)}-{job.index:03d}-{job.hash[:6]}"
    start = re.sub(r"[^A-Za-z0-9]+", "-", project).strip("-") or "rlvr"
    return start[: LONGEST_NAME - len(end)].rstrip("-") + end


def tag_value(text: str) -> str:
    """`text` without Hydra's escapes and what else a tag may not hold, at most 256 characters."""
    return _UNTAGGABLE.sub(" ", text.replace("\\", ""))[:256].strip()
