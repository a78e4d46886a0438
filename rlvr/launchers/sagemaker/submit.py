"""Jobs that wait to be submitted: a full or busy service makes them wait, nothing makes them lost.

A job's name stands in the manifest before its request is sent, so a controller that dies at any
moment leaves no job that a resumed sweep could lose or start twice.
"""

import random
import time
from typing import Any

from rlvr.errors import UserError
from rlvr.launchers.sagemaker import budget, pricing
from rlvr.launchers.sagemaker.request import RequestBuilder
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
from rlvr.paths import PROJECT
from rlvr.result import Result, code_state
from rlvr.states import State
from rlvr.sweep.controller import Sweep
from rlvr.tracking import RUN_ID_VARIABLE

LONGEST_PAUSE = 300.0  # seconds
PATIENCE = 3600.0  # seconds that a service may be too busy to take a job
CODE_LIST = "code.txt"


class Queue:
    """The jobs of one sweep that wait, and the pause that the service has asked for."""

    def __init__(self, sweep: Sweep, builder: RequestBuilder) -> None:
        self.sweep, self.builder, self.service = sweep, builder, builder.service
        self.waiting: list[Submission] = []
        self._git = code_state(PROJECT)[0]
        self._pause = 0.0
        self._next_at = 0.0
        self._busy_since: float | None = None
        self._reason = ""

    def add(self, submission: Submission) -> None:
        self.waiting.append(submission)

    def prepare(self) -> None:
        """Say what the sweep may cost and what goes up, and upload what jobs share, once."""
        if not self.waiting:
            return
        already = budget.spent(self.sweep.record.jobs)
        if not already:  # else what runs goes on, and the rest waits for what it really costs
            budget.refuse(self.waiting, already)
        self._describe(already)
        try:
            for submission in self.waiting:
                self.builder.upload_shared(submission)
        except aws_errors() as error:
            raise UserError(
                f"the upload to s3://{self.builder.storage.bucket} failed, no job was started: "
                f"{explain(error)}"
            ) from error

    def _describe(self, already: float) -> None:
        archives = {a.digest: a for a in map(self.builder.code, self.waiting)}.values()
        for archive in archives:
            self.sweep.terminal.say(archive.describe())
        listed = sorted({name for archive in archives for name in archive.files})
        (self.sweep.directory / CODE_LIST).write_text("\n".join(listed) + "\n", encoding="utf-8")
        types = ", ".join(sorted({waiting.instance_type for waiting in self.waiting}))
        total, prices = budget.most(self.waiting), pricing.prices(self.waiting[0].settings.prices)
        before = f", after {pricing.describe(already)} so far" if already else ""
        self.sweep.terminal.say(
            f"{len(self.waiting)} jobs on {types}; at most {pricing.describe(total)}{before}, if "
            f"all run to max_runtime ({prices.source()}; S3, logs and network not counted)"
        )

    def submit_next(self, running: int) -> Submission | None:
        """The job that has been submitted now, where one may be and the service takes it."""
        if not self.waiting or time.monotonic() < self._next_at:
            return None
        if running >= self.waiting[0].settings.n_jobs or not self._can_be_paid(running):
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

    def _can_be_paid(self, running: int) -> bool:
        """Within `launcher.max_cost`; once nothing that runs can leave more of it, none is."""
        already = budget.spent(self.sweep.record.jobs)
        # One whose answer was lost may run already, and is counted.
        if self.waiting[0].unsure or budget.allows(self.waiting[0], already):
            return True
        if not running:
            self._give_up(
                f"launcher.max_cost={self.waiting[0].settings.max_cost:g}: with "
                f"{pricing.describe(already)} spent, the next job could pass it. Raise it"
            )
        return False

    def _give_up(self, why: str) -> None:
        names = "; ".join(submission.job.label for submission in self.waiting)
        self.sweep.terminal.say(f"{why} and resume the sweep for what was not submitted: {names}")
        self.leave()

    def leave(self) -> None:
        """Submit nothing more; a job whose answer was lost may run all the same, and is named."""
        for submission in self.waiting:
            if submission.unsure and submission.training:
                self.sweep.terminal.say(
                    f"#{submission.job.index} may have been started: resume the sweep to go on "
                    f"with it, or stop it with: "
                    f"{self.service.stop_command(submission.training.name)}"
                )
        self.waiting.clear()

    def again(self, submission: Submission) -> None:
        """Submit another training job for a job whose last one SageMaker could not run."""
        if training := submission.training:
            submission.job.spent += training.cost or 0.0
            submission.seconds_spent += training.training_seconds or 0
        self._back_to_pending(submission)
        self.waiting.append(submission)
        pause = submission.settings.poll_seconds * random.uniform(0.5, 1)
        self._next_at = time.monotonic() + pause

    def an_instance_is_free(self) -> None:
        self._next_at = 0.0

    def request(self, submission: Submission) -> tuple[TrainingJob, dict[str, Any]]:
        """What is sent for the job, and the training job that it makes."""
        earlier = submission.training
        training = self.builder.training_job(submission)
        training.git = self._git
        if earlier and submission.capacity_failures:
            training.earlier = [*earlier.earlier, earlier.name]
        if earlier and submission.unsure:  # under the same name it cannot be started twice
            training.name = earlier.name
        return training, self.builder.build(submission, training, self._environment(submission))

    def _submit(self, submission: Submission) -> None:
        job = submission.job
        training, request = self.request(submission)
        self.builder.upload_shared(submission)  # there already, but for another instance's image
        self.builder.upload_own(submission, training, self.sweep.command(job)[2])
        submission.training = training
        self.sweep.submitted(job, training.entry())
        self.service.create(request)
        submission.unsure = False
        self.sweep.started(job)
        self.sweep.terminal.say(
            f"    {training.instance_type}  {self.service.console(training.name)}"
        )
        self._pause, self._reason, self._busy_since = 0.0, "", None

    def _environment(self, submission: Submission) -> dict[str, str]:
        own = self.sweep.environment(submission.job)
        own.pop("PYTHONPATH")
        if not self.builder.tracked:
            own.pop(RUN_ID_VARIABLE, None)
        return own

    def _since_busy(self) -> float:
        self._busy_since = self._busy_since or time.monotonic()
        return self._busy_since

    def _back_to_pending(self, submission: Submission) -> None:
        job = submission.job
        job.state, job.remote, job.started = State.pending, None, None
        self.sweep.record.save(self.sweep.directory)

    def _refused(self, submission: Submission, error: Exception) -> None:
        """Full or busy: the job waits. Anything else is this job's failure."""
        job = submission.job
        full = getattr(error, "response", None) and code(error) == QUOTA
        if is_expired(error):
            self.service.reconnect()
            self.builder.storage.client = self.service.s3
        elif not is_busy(error) and (not full or " is 0 Instances" in str(error)):
            failed = Result(State.failed, error=f"not submitted: {explain(error)}")
            self.sweep.ended(job, failed)
            return
        submission.unsure = submission.unsure or (is_unsure(error) and job.is_remote())
        if not submission.unsure:
            self._back_to_pending(submission)
        self.waiting.insert(0, submission)
        if full:
            self._busy_since = None  # others may hold the quota for as long as they like
        elif time.monotonic() - self._since_busy() > PATIENCE:
            self._give_up(f"no job could be submitted for an hour ({explain(error)}). Wait")
            return
        self._pause = min(LONGEST_PAUSE, max(submission.settings.poll_seconds, 2 * self._pause))
        self._next_at = time.monotonic() + self._pause * random.uniform(0.5, 1.0)
        if (reason := explain(error)) != self._reason:
            self.sweep.terminal.say(f"waiting to submit #{job.index}: {reason}")
        self._reason = reason
