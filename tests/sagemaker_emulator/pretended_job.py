"""A training job that runs no process: it costs a few objects on S3, and a turn now and then."""

import math
import threading
from collections.abc import Generator, Iterator
from typing import Any

from .job import Job, Machine
from .pretend import Course, Ending
from .pretended_worker import FAILURE, PretendedWorker
from .scheduler import Scheduler
from .store import Store

INTERNAL = "InternalServerError: We encountered an internal error. Please try again."
LOOK_AGAIN = 0.2  # seconds of this machine between looks for capacity
Moments = Generator[float, None, str]  # the service's times until which it waits, then a reason


class PretendedJob(Job):
    def __init__(
        self, request: dict[str, Any], machine: Machine, course: Course, scheduler: Scheduler
    ) -> None:
        super().__init__(request, machine)
        self.course, self.turn = course, 0
        self._scheduler, self._over = scheduler, threading.Event()
        self._worker = PretendedWorker(self, Store(), course.metric, course.steps)
        self._moments = self._run()
        scheduler.wake(self)

    def stop(self) -> bool:
        stopping = super().stop()
        self._scheduler.wake(self)
        return stopping

    def interrupt(self) -> None:
        super().interrupt()
        self._scheduler.wake(self)

    def kill(self) -> None:
        self._end("Stopped", "Stopped", "")

    def join(self, timeout: float) -> None:
        self._over.wait(timeout)

    def advance(self) -> float | None:
        """For the scheduler: go on until the time that is returned; None at the end."""
        if not self.live:
            return None
        try:
            return next(self._moments, None)
        except Exception as error:
            self._end("Failed", "Failed", f"{type(error).__name__}: {error}")
            return None

    def _provisioning(self) -> float:
        return self.course.provisioning

    def _is_scarce(self) -> bool:
        return self.course.ending is Ending.no_capacity or super()._is_scarce()

    def _end(self, status: str, secondary: str, reason: str) -> None:
        super()._end(status, secondary, reason)
        self._over.set()

    def _run(self) -> Iterator[float]:
        """Its whole life, as the times of the service until which it waits."""
        why = "interrupted"
        while why == "interrupted":
            asked = self._now()
            while self.live and not self._has_instances(asked):
                again = self._now() + LOOK_AGAIN * self.machine.clock.speed
                yield max(again, min(asked + self.course.provisioning, self._patience()))
            if not self.live:
                return
            self._move("Downloading", "Downloading input data")
            if problem := self._worker.missing_channel():
                return self._end("Failed", "Failed", problem)
            self._begin_life()
            why = yield from self._live()
            self._end_life()
            if why == "interrupted":
                self._reclaimed()
        self._finish(why)

    def _live(self) -> Moments:
        """Work until the end, or until something comes between; says which it was."""
        step, began = self._worker.begin(), self._now()
        reclaimed = self._reclaimed_at(began)
        done = began
        while True:
            if why := self._reason_to_stop() or ("interrupted" if self._now() > reclaimed else ""):
                yield from self._terminate(why)
                return why
            due = done + self.course.running / self.course.steps
            if step >= self.course.steps:
                if self.course.ending is not Ending.overruns:
                    return "exited"
                due = math.inf
            if self._now() < due:
                yield min(due, reclaimed, self._limit(began))
                continue
            step, done = step + 1, due
            self._worker.train(step)

    def _reclaimed_at(self, began: float) -> float:
        lives = self.course.lives
        return began + lives[self.starts - 1] if self.starts <= len(lives) else math.inf

    def _limit(self, began: float) -> float:
        """When the service would end it, a life having begun."""
        runtime = self.request["StoppingCondition"].get("MaxRuntimeInSeconds", 86400)
        return min(began + runtime - self._earlier_lives + 0.001, self._patience())

    def _patience(self) -> float:
        """When its MaxWaitTimeInSeconds are over."""
        limit = self.request["StoppingCondition"].get("MaxWaitTimeInSeconds", math.inf)
        return self.created + float(limit) + 0.001

    def _terminate(self, why: str) -> Iterator[float]:
        """SIGTERM: the worker saves and ends, or is killed."""
        grace = self._grace(why)
        over = self._now() + min(grace, self.course.saving)
        while self._now() < over:
            yield over
        if self.course.saving <= grace:
            self._worker.end_on_sigterm()

    def _finish(self, why: str) -> None:
        if why != "exited":
            self._upload(output=True)
            self._end("Stopped", "Stopped" if why == "stopped" else why, "")
        elif self.course.ending is Ending.internal_error:
            self._end("Failed", "Failed", INTERNAL)
        elif self.course.ending is Ending.failed:
            self._worker.fail()
            self._upload(output=self.machine.faults.output_on_failure)
            self._end("Failed", "Failed", f"AlgorithmError: {FAILURE}, exit code: 1")
        else:
            self._complete()

    def _complete(self) -> None:
        faults = self.machine.faults
        self._worker.complete()
        self._worker.lose_result(
            output=faults.take("missing_results"), copy=faults.take("missing_copies")
        )
        self._upload(output=not faults.take("missing_outputs"))
        self._end("Completed", "Completed", "")

    def _upload(self, *, output: bool) -> None:
        self._move("Uploading", "Uploading generated training model")
        self.model_uri = self._worker.upload(output=output)
