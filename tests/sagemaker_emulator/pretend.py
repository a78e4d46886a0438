"""What becomes of a job that runs no process: decided in advance by a seed and the job's name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any


class Ending(StrEnum):
    completed = "completed"
    failed = "failed"  # the worker's own failure, with its result
    no_capacity = "no_capacity"  # CapacityError; a spot job waits until MaxWaitTimeInSeconds
    internal_error = "internal_error"  # InternalServerError in the middle of its work
    overruns = "overruns"  # works until MaxRuntimeInSeconds, or until it is stopped


@dataclass(frozen=True)
class Course:
    """Of one training job. All seconds are of the service's clock.

    provisioning: from asking for instances to having them, in each life.
    running: its work in all, in `steps` steps; each is a checkpoint that a next life goes on from.
    lives: how long those lives are after which spot capacity is reclaimed; none if not spot.
    saving: from SIGTERM to the worker's own end.
    metric: what its result says.
    """

    ending: Ending = Ending.completed
    provisioning: float = 60.0
    running: float = 600.0
    lives: tuple[float, ...] = ()
    saving: float = 5.0
    steps: int = 4
    metric: float = 0.5


@dataclass
class Pretend:
    """Draws the course of each job. Override `course` to decide it in another way.

    Two emulators with the same seed do the same to a job of the same name and attempt. Where names
    are random, name by `tag` the tag that tells the jobs of a sweep from one another.

    seed: may be changed between sweeps.
    provisioning, running, saving: ranges of seconds, drawn evenly.
    endings: how likely each is, as weights.
    reclaimed: how likely each life of a spot job is to be cut short; at most three are.
    speed: seconds of the service in one of this machine.
    """

    seed: int = 0
    tag: str | None = None
    provisioning: tuple[float, float] = (30.0, 120.0)
    running: tuple[float, float] = (120.0, 600.0)
    saving: tuple[float, float] = (1.0, 30.0)
    endings: Mapping[Ending, float] = field(default_factory=lambda: {Ending.completed: 1.0})
    reclaimed: float = 0.0
    steps: int = 4
    speed: float = 1.0

    def identity(self, request: Mapping[str, Any]) -> str:
        """What is the same in all attempts at a job."""
        tags = {tag["Key"]: tag["Value"] for tag in request.get("Tags", [])}
        return str(tags.get(self.tag, request["TrainingJobName"]))

    def course(self, request: Mapping[str, Any], attempt: int) -> Course:
        """Of the training job that `request` makes; `attempt` counts those of its identity from
        0. The metric is the same in all attempts."""
        identity = self.identity(request)
        drawn = Random(f"{self.seed} {identity} {attempt}")
        running = drawn.uniform(*self.running)
        spot = request.get("EnableManagedSpotTraining")
        cut = [drawn.random() < self.reclaimed for _ in range(3)]
        shares = [drawn.uniform(0.05, 0.95) for _ in cut]
        return Course(
            ending=drawn.choices(list(self.endings), list(self.endings.values()))[0],
            provisioning=drawn.uniform(*self.provisioning),
            running=running,
            lives=tuple(s * running for c, s in zip(cut, shares, strict=True) if c and spot),
            saving=drawn.uniform(*self.saving),
            steps=self.steps,
            metric=round(Random(f"{self.seed} {identity}").random(), 3),
        )
