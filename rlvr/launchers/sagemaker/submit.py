"""Jobs that wait to be submitted: a full or busy service makes them wait, nothing makes them lost.

A job's name stands in the manifest before its request is sent, and follows from the job and the
number of the attempt: whoever goes on with the sweep, on whatever machine, loses no job and starts
none twice.
"""

import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rlvr.errors import UserError
from rlvr.launchers.sagemaker import budget
from rlvr.launchers.sagemaker.places import Place
from rlvr.launchers.sagemaker.regions import Regions
from rlvr.launchers.sagemaker.service import (
    QUOTA,
    aws_errors,
    code,
    explain,
    is_busy,
    is_expired,
    is_unsure,
)
from rlvr.launchers.sagemaker.training_job import Submission, TrainingJob
from rlvr.result import Result
from rlvr.states import State
from rlvr.sweep.recorded import RecordedSweep

LONGEST_PAUSE = 300.0  # seconds
PATIENCE = 3600.0  # seconds that a service may be too busy to take a job


class Queue:
    """The jobs of one sweep that wait, and the pause that the service has asked for.

    `upload` brings what jobs share to the region of a place; where a sweep is gone on with from
    another machine, that is there already.
    """

    def __init__(
        self,
        sweep: RecordedSweep,
        regions: Regions,
        upload: Callable[[Submission, Place], None] = lambda submission, place: None,
    ) -> None:
        self.sweep, self.regions, self.upload = sweep, regions, upload
        self.waiting: list[Submission] = []
        self._pause = 0.0
        self._next_at = 0.0
        self._busy_since: float | None = None
        self._reason = ""
        self.full = False  # by the quota

    def submit_next(self) -> Submission | None:
        """The job that has been submitted now, where one may be and the service takes it."""
        if not self.waiting or time.monotonic() < self._next_at:
            return None
        submission = self.waiting.pop(0)
        try:
            self._submit(submission)
        except aws_errors() as error:
            self._refused(submission, error)
        except UserError as error:
            self.sweep.ended(submission.job, Result(State.failed, error=str(error)))
        else:
            return submission
        return None

    def can_be_paid(self) -> bool:
        """Whether the next one is sure to stay within `launcher.max_cost`."""
        # One whose answer was lost may run already, and is counted.
        next_one, already = self.waiting[0], budget.spent(self.sweep.record.jobs)
        return next_one.unsure or budget.allows(next_one, already)

    def leave(self) -> None:
        """Submit nothing more; a job whose answer was lost may run all the same, and is named."""
        for submission in self.waiting:
            if submission.unsure and submission.training:
                service = self.regions.service(submission.training.region)
                self.sweep.terminal.say(
                    f"#{submission.job.index} may have been started: resume the sweep to go on "
                    f"with it, or stop it with: {service.stop_command(submission.training.name)}"
                )
        self.waiting.clear()

    def give_up(self, why: str) -> None:
        names = "; ".join(submission.job.label for submission in self.waiting)
        self.sweep.terminal.say(f"{why} and resume the sweep for what was not submitted: {names}")
        self.leave()

    def again(self, submission: Submission, reason: str) -> None:
        """Submit another attempt at a job that SageMaker could not run, at the next place."""
        submission.job.retire(retry=reason)
        self.sweep.save()
        self.sweep.terminal.say(
            f"#{submission.job.index} is submitted again, on {submission.next.place}: {reason}"
        )
        self.waiting.append(submission)
        pause = submission.settings.poll_seconds * random.uniform(0.5, 1)
        self._next_at = time.monotonic() + pause

    def an_instance_is_free(self) -> None:
        self._next_at = 0.0

    def request(self, submission: Submission) -> tuple[TrainingJob, dict[str, Any]]:
        """What is sent for the job's next attempt, and the training job that it makes."""
        ready = submission.next
        name = f"{ready.training.name}-{len(submission.job.attempts) + 1}"
        training = replace(ready.training, name=name, most=submission.highest_cost)
        stopping = ready.request["StoppingCondition"]
        left = {"MaxRuntimeInSeconds": submission.seconds_left}
        return training, {
            **ready.request,
            "TrainingJobName": name,
            "StoppingCondition": {**stopping, **left},
        }

    def _submit(self, submission: Submission) -> None:
        job, place = submission.job, submission.next.place
        training, request = self.request(submission)
        service, storage = self.regions.of(training)
        self.upload(submission, place)
        self._bring_checkpoints(submission, training)
        for name, body in submission.files.items():
            storage.put(f"{training.job_key}/input/{name}", body)
        submission.training = training
        self.sweep.submitted(job, training.entry())
        service.create(request)
        submission.unsure = False
        self.sweep.started(job)
        self.sweep.terminal.say(f"    {place}  {service.console(training.name)}")
        self._pause, self._reason, self._busy_since, self.full = 0.0, "", None, False

    def _bring_checkpoints(self, submission: Submission, training: TrainingJob) -> None:
        """From another region, where the job has trained last; it may have had no turn since."""
        trained = [a for a in submission.job.attempts if a.get("training_seconds")]
        if trained and trained[-1]["region"] != training.region:
            there = self.regions.storage(trained[-1]["region"], trained[-1]["bucket"])
            here = self.regions.storage(training.region, training.bucket)
            here.copy_from(there, f"{training.job_key}/checkpoints/")

    def _since_busy(self) -> float:
        self._busy_since = self._busy_since or time.monotonic()
        return self._busy_since

    def _back_to_pending(self, submission: Submission) -> None:
        job = submission.job
        job.state, job.remote, job.started = State.pending, None, None
        self.sweep.save()

    def _refused(self, submission: Submission, error: Exception) -> None:
        """Full or busy: the job waits. Anything else is this job's failure."""
        job = submission.job
        limited = bool(getattr(error, "response", None)) and code(error) == QUOTA
        never = limited and " is 0 Instances" in str(error)
        self.full = limited and not never
        if is_expired(error):
            self.regions.reconnect()
        elif never and submission.has_untried_place:
            self.again(submission, explain(error))
            return
        elif never or not (self.full or is_busy(error)):
            failed = Result(State.failed, error=f"not submitted: {explain(error)}")
            self.sweep.ended(job, failed)
            return
        submission.unsure = submission.unsure or (is_unsure(error) and job.is_remote())
        if not submission.unsure:
            self._back_to_pending(submission)
        self.waiting.insert(0, submission)
        if self.full:
            self._busy_since = None  # others may hold the quota for as long as they like
        elif time.monotonic() - self._since_busy() > PATIENCE:
            self.give_up(f"no job could be submitted for an hour ({explain(error)}). Wait")
            return
        self._pause = min(LONGEST_PAUSE, max(submission.settings.poll_seconds, 2 * self._pause))
        self._next_at = time.monotonic() + self._pause * random.uniform(0.5, 1.0)
        if (reason := explain(error)) != self._reason:
            self.sweep.terminal.say(f"waiting to submit #{job.index}: {reason}")
        self._reason = reason
