"""One training job as the service sees it: its states, its seconds, what it is billed for."""

import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .clock import Clock
from .faults import Faults
from .logs import LogShipper
from .store import ACCOUNT

TERMINAL = ("Completed", "Failed", "Stopped")
CAPACITY = (
    "CapacityError: Unable to provision requested ML compute capacity. "
    "Please retry using a different ML instance type."
)


@dataclass(frozen=True)
class Machine:
    """How the emulated service behaves in one region, the same for all jobs."""

    folder: Path
    region: str
    endpoint: str
    mode: str
    s3: Any
    logs: LogShipper
    faults: Faults
    clock: Clock
    hide: tuple[Path, ...] = ()
    share: list[Path] = field(default_factory=list)
    gpus: dict[str, int] = field(default_factory=dict)
    provisioning: float = 0.1
    stop_grace: float = 120.0
    spot_discount: float = 0.7


class Job(ABC):
    """What a CreateTrainingJob request has made. All times are by the service's clock."""

    def __init__(self, request: dict[str, Any], machine: Machine) -> None:
        self.request, self.machine = request, machine
        self.name: str = request["TrainingJobName"]
        self.arn = f"arn:aws:sagemaker:{machine.region}:{ACCOUNT}:training-job/{self.name}"
        self.tags = {t["Key"]: t["Value"] for t in request.get("Tags", [])}
        self.status, self.secondary, self.failure_reason = "InProgress", "Starting", ""
        self.created = self.modified = self._now()
        self.started: float | None = None
        self.ended: float | None = None
        self.transitions: list[dict[str, Any]] = []
        self.model_uri = ""
        self.keep_alive = int(request["ResourceConfig"].get("KeepAlivePeriodInSeconds", 0))
        self.released: float | None = None
        self.starts = 0
        self._earlier_lives = 0.0
        self._life_began: float | None = None
        self._stop, self._interrupt = threading.Event(), threading.Event()
        self._changes = threading.RLock()  # a job ends in one thread and is stopped from others
        self._move("Starting", "Launching requested ML instances")

    @property
    def instances(self) -> int:
        return int(self.request["ResourceConfig"].get("InstanceCount", 1))

    @property
    def instance_type(self) -> str:
        return str(self.request["ResourceConfig"]["InstanceType"])

    @property
    def spot(self) -> bool:
        return bool(self.request.get("EnableManagedSpotTraining"))

    @property
    def live(self) -> bool:
        return self.status not in TERMINAL

    @property
    def training_seconds(self) -> float:
        """On an instance, of all its lives."""
        with self._changes:
            now = 0.0 if self._life_began is None else self._now() - self._life_began
            return self._earlier_lives + now

    @property
    def billable_seconds(self) -> int:
        """So far, of each instance; a second at least, and nothing where it never had one."""
        if self.started is None:
            return 0
        share = 1 - self.machine.spot_discount if self.spot else 1
        return max(1, round(round(self.training_seconds) * share))

    @property
    def warm(self) -> bool:
        """Whether the instance waits, billed, for a next job (which the emulator never reuses)."""
        return self._kept_until() > self._now()

    @property
    def idle_seconds(self) -> float:
        """Billed after the end, until the instance was given back or its time was over."""
        if self.ended is None:
            return 0.0
        return max(0.0, min(self._now(), self._kept_until()) - self.ended)

    def keep_warm(self, seconds: int) -> None:
        """UpdateTrainingJob; 0 gives the instance back."""
        self.keep_alive = seconds
        if not seconds:
            self.released = self._now()

    def stop(self) -> bool:
        """StopTrainingJob: SIGTERM, and SIGKILL after the grace. False where it has ended."""
        with self._changes:
            if not self.live:
                return False
            if self.status != "Stopping":
                self.status = "Stopping"
                self._move("Stopping", "Stopping the training job")
            self._stop.set()
        return True

    def interrupt(self) -> None:
        """Reclaim the spot instance: the job starts again from its checkpoints."""
        self._interrupt.set()

    @abstractmethod
    def kill(self) -> None:
        """End it at once (the emulator is closing)."""

    @abstractmethod
    def join(self, timeout: float) -> None:
        """Block until the job has ended, at most `timeout` seconds of this machine."""

    def wait(self, timeout: float = 60) -> "Job":
        """Block until the job has ended; TimeoutError if it does not."""
        self.join(timeout)
        if self.live:
            raise TimeoutError(f"{self.name} is still {self.secondary} after {timeout} s")
        return self

    @abstractmethod
    def _provisioning(self) -> float:
        """Seconds from asking for instances to having them."""

    def _now(self) -> float:
        return self.machine.clock.now()

    def _kept_until(self) -> float:
        if self.ended is None or self.started is None:
            return 0.0
        return self.released or self.ended + self.keep_alive

    def _has_instances(self, asked: float) -> bool:
        """Whether those asked for at this time are there; where none will be, the job ends."""
        if self._stop.is_set():
            self._end("Stopped", "Stopped", "")
        elif self._waited_too_long():
            self._end("Stopped", "MaxWaitTimeExceeded", "")
        elif self._now() >= asked + self._provisioning():
            waits = self._is_scarce() and self.spot
            refused = self._is_scarce() or self.machine.faults.take("capacity_errors")
            if refused and not waits:
                self._end("Failed", "Failed", CAPACITY)
            return not refused
        return False

    def _is_scarce(self) -> bool:
        """Whether there is no capacity for it."""
        where = (self.machine.region, self.instance_type, self.spot)
        return where in self.machine.faults.no_capacity_for

    def _begin_life(self) -> None:
        self._move("Training", "Training image download completed. Training in progress.")
        self._life_began = self._now()
        self.started = self.started or self._life_began
        self.starts += 1

    def _end_life(self) -> None:
        with self._changes:
            self._earlier_lives, self._life_began = self.training_seconds, None

    def _reason_to_stop(self) -> str:
        """What happens to it from outside: stopped, interrupted, a limit's status, or nothing."""
        if self._stop.is_set():
            return "stopped"
        if self.spot and self._interrupt.is_set():
            return "interrupted"
        return self._overdue()

    def _reclaimed(self) -> None:
        self._interrupt.clear()
        self._move("Interrupted", "Spot capacity was reclaimed")
        self._move("Starting", "Preparing the instances for training")

    def _waited_too_long(self) -> bool:
        limit = self.request["StoppingCondition"].get("MaxWaitTimeInSeconds")
        return limit is not None and self._now() - self.created > limit

    def _overdue(self) -> str:
        """The secondary status of a job whose time is over, or nothing."""
        limit = self.request["StoppingCondition"].get("MaxRuntimeInSeconds", 86400)
        if self.training_seconds > limit:
            return "MaxRuntimeExceeded"
        return "MaxWaitTimeExceeded" if self._waited_too_long() else ""

    def _grace(self, why: str) -> float:
        """Seconds between SIGTERM and SIGKILL."""
        faults = self.machine.faults
        grace = faults.spot_warning if why == "interrupted" else faults.stop_grace
        return self.machine.stop_grace if grace is None else grace

    def _move(self, secondary: str, message: str) -> None:
        with self._changes:
            now = self._now()
            if self.transitions:
                self.transitions[-1]["EndTime"] = now
            self.secondary, self.modified = secondary, now
            moved = {"Status": secondary, "StartTime": now, "StatusMessage": message}
            self.transitions.append(moved)

    def _end(self, status: str, secondary: str, reason: str) -> None:
        with self._changes:
            if not self.live:
                return
            self._end_life()
            self.failure_reason = reason[:1024]
            self._move(secondary, self.failure_reason)
            self.ended = self.transitions[-1]["EndTime"] = self.modified
            self.status = status
