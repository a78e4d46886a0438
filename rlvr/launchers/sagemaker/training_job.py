"""The manifest's `remote` entry of a job: all it takes to find, follow, stop and collect it."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from rlvr.launchers.sagemaker import pricing
from rlvr.states import State

SWEEP_TAG = "rlvr.sweep"
INDEX_TAG = "rlvr.index"


@dataclass
class TrainingJob:
    """One submission of a job to SageMaker; `earlier` are the names of those before it."""

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

    @classmethod
    def read(cls, entry: dict[str, Any]) -> "TrainingJob":
        known = {f.name for f in fields(cls)}
        return cls(**{key: value for key, value in entry.items() if key in known})

    def entry(self) -> dict[str, Any]:
        """`shown` is for the live table."""
        dollars = "" if self.cost is None else pricing.describe(self.cost)
        return {**asdict(self), "shown": f"{self.note} {dollars}".strip()}

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
        """Take over what DescribeTrainingJob says."""
        self.status = described["TrainingJobStatus"]
        self.failure_reason = described.get("FailureReason")
        start = described.get("TrainingStartTime")
        self.started = start.timestamp() if start else None
        self.training_seconds = described.get("TrainingTimeInSeconds")
        self.billable_seconds = described.get("BillableTimeInSeconds")
        secondary = described["SecondaryStatus"]
        self.note = self.status if self.state.ended else secondary
        if self.state is State.killed:
            self.note = secondary
        self.kept_warm = described.get("WarmPoolStatus", {}).get("Status") == "Available"
        self.cost = self._cost(now)

    def _cost(self, now: float) -> float | None:
        """So far while it runs, final once SageMaker has said what it bills."""
        seconds = self.billable_seconds
        if seconds is None:
            seconds = int(now - self.started) if self.started else 0
        return pricing.cost(self.instance_type, self.instance_count, seconds, self.prices)
