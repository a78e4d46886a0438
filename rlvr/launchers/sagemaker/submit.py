"""Jobs that wait to be submitted: a full or busy service makes them wait, nothing makes them lost.

A job's name stands in the manifest before its request is sent, so a controller that dies at any
moment leaves no job that a resumed sweep could lose or start twice.
"""

import random
import time
from typing import Any

from rlvr.errors import UserError
from rlvr.launchers.sagemaker import payload, pricing
from rlvr.launchers.sagemaker.request import RequestBuilder
from rlvr.launchers.sagemaker.service import (
    IN_USE,
    QUOTA,
    Service,
    aws_errors,
    code,
    explain,
    is_busy,
    is_unsure,
)
from rlvr.launchers.sagemaker.settings import spot_problem
from rlvr.launchers.sagemaker.storage import Storage
from rlvr.launchers.sagemaker.training_job import Submission
from rlvr.paths import PROJECT
from rlvr.result import Result, code_state
from rlvr.states import State
from rlvr.sweep.controller import Sweep
from rlvr.tracking import RUN_ID_VARIABLE

LONGEST_PAUSE = 300.0  # seconds


class Queue:
    """The jobs of one sweep that wait, and the pause that the service has asked for."""

    def __init__(self, sweep: Sweep, service: Service, storage: Storage) -> None:
        self.sweep, self.service = sweep, service
        tracked = payload.reachable(sweep.record.tracking.uri)
        self.builder = RequestBuilder(service, storage, sweep.record.sweep_id, tracked)
        self.waiting: list[Submission] = []
        self._git = code_state(PROJECT)[0]
        self._pause = 0.0
        self._next_at = 0.0
        self._reason = ""

    def add(self, submission: Submission) -> None:
        if problem := spot_problem(submission.settings, submission.config):
            raise UserError(f"job {submission.job.label}: {problem}")
        self.waiting.append(submission)

    def prepare(self) -> None:
        """Upload the code once, and say what the sweep may cost."""
        if not self.waiting:
            return
        try:
            for archive in filter(None, map(self.builder.pack, self.waiting)):
                self.sweep.terminal.say(archive.describe())
        except aws_errors() as error:
            raise UserError(
                f"the upload to s3://{self.builder.storage.bucket} failed, no job was started: "
                f"{explain(error)}"
            ) from error
        types = ", ".join(sorted({waiting.instance_type for waiting in self.waiting}))
        costs = [waiting.highest_cost for waiting in self.waiting]
        total = pricing.describe(None if None in costs else sum(filter(None, costs)))
        self.sweep.terminal.say(
            f"{len(costs)} jobs on {types}; at most {total} if all run to max_runtime"
        )

    def submit_next(self, running: int) -> Submission | None:
        """The job that has been submitted now, where one may be and the service takes it."""
        if not self.waiting or time.monotonic() < self._next_at:
            return None
        if running >= self.waiting[0].settings.n_jobs:
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

    def again(self, submission: Submission) -> None:
        """Submit another training job for a job whose last one found no capacity."""
        self._back_to_pending(submission)
        self.waiting.append(submission)
        pause = submission.settings.poll_seconds * random.uniform(0.5, 1)
        self._next_at = time.monotonic() + pause

    def an_instance_is_free(self) -> None:
        self._next_at = 0.0

    def _submit(self, submission: Submission) -> None:
        job, earlier = submission.job, submission.training
        training = self.builder.training_job(submission)
        training.git = self._git
        if earlier and submission.capacity_failures:
            training.earlier = [*earlier.earlier, earlier.name]
        if earlier and submission.unsure:  # under the same name it cannot be started twice
            training.name = earlier.name
        module = self.sweep.command(job)[2]
        request = self.builder.build(submission, training, module, self._environment(submission))
        submission.training = training
        self.sweep.submitted(job, training.entry())
        self._create(request)
        submission.unsure = False
        self.sweep.started(job)
        self.sweep.terminal.say(
            f"    {training.instance_type}  {self.service.console(training.name)}"
        )
        self._pause, self._reason = 0.0, ""

    def _create(self, request: dict[str, Any]) -> None:
        from botocore.exceptions import ClientError

        try:
            self.service.sagemaker.create_training_job(**request)
        except ClientError as error:
            # nobody else has this name: an earlier try of this very call got through
            if code(error) != IN_USE:
                raise

    def _environment(self, submission: Submission) -> dict[str, str]:
        own = self.sweep.environment(submission.job)
        own.pop("PYTHONPATH")
        if not self.builder.tracked:
            own.pop(RUN_ID_VARIABLE, None)
        return own

    def _back_to_pending(self, submission: Submission) -> None:
        job = submission.job
        job.state, job.remote, job.started = State.pending, None, None
        self.sweep.record.save(self.sweep.directory)

    def _refused(self, submission: Submission, error: Exception) -> None:
        """Full or busy: the job waits. Anything else is this job's failure."""
        job = submission.job
        full = getattr(error, "response", None) and code(error) == QUOTA
        if not is_busy(error) and (not full or " is 0 Instances" in str(error)):
            failed = Result(State.failed, error=f"not submitted: {explain(error)}")
            self.sweep.ended(job, failed)
            return
        submission.unsure = submission.unsure or (is_unsure(error) and job.is_remote())
        if not submission.unsure:
            self._back_to_pending(submission)
        self.waiting.insert(0, submission)
        self._pause = min(LONGEST_PAUSE, max(submission.settings.poll_seconds, 2 * self._pause))
        self._next_at = time.monotonic() + self._pause * random.uniform(0.5, 1.0)
        if (reason := explain(error)) != self._reason:
            self.sweep.terminal.say(f"waiting to submit #{job.index}: {reason}")
        self._reason = reason
