"""Jobs that run on SageMaker: seen every few seconds, followed, collected, and stopped."""

import random
import time
from typing import Any

from rlvr.launchers.sagemaker import collect, mlflow_import
from rlvr.launchers.sagemaker.logs import LogFollower
from rlvr.launchers.sagemaker.regions import Regions
from rlvr.launchers.sagemaker.service import Service, aws_errors, explain, is_busy, is_expired
from rlvr.launchers.sagemaker.training_job import Submission, TrainingJob
from rlvr.manifest import Job
from rlvr.result import Result
from rlvr.states import State
from rlvr.sweep.interrupts import Interrupts
from rlvr.sweep.recorded import RecordedSweep

LOG_DRAIN = 30.0  # seconds that logs may lag behind the end of their job
COLLECT_TRIES = 5
PATIENCE = 3600.0  # seconds without an answer, after which the jobs are left to themselves
LONGEST_STOP = 900.0  # seconds; SageMaker kills after 120, then it uploads
RESUBMITTED = ("CapacityError", "InternalServerError")


class Watch:
    """The jobs that SageMaker has; of those in `draining` only the log is awaited."""

    def __init__(self, sweep: RecordedSweep, regions: Regions, interrupts: Interrupts) -> None:
        self.sweep, self.regions, self.interrupts = sweep, regions, interrupts
        self.running: dict[int, Submission] = {}  # by the job's index
        self.draining: list[Submission] = []
        self._stopping_since: float | None = None
        self._said = ""

    def add(self, submission: Submission) -> None:
        """Watch a job that this controller has submitted, or an earlier one."""
        training = submission.training = submission.training or TrainingJob.of(submission.job)
        log = self.sweep.log_file(submission.job)
        service, _ = self.regions.of(training)
        submission.follower = LogFollower(service, training.name, log)
        submission.due = _next(submission)
        self.running[submission.job.index] = submission

    def look(self, job: Job) -> tuple[bool, str | None]:
        """Whether the job is not watched any more; why it is to be submitted again, if it is."""
        submission = self.running[job.index]
        if self.stops_too_long():
            self.name_running("these jobs were told to stop long ago and have not ended")
            self.running.clear()
        elif time.monotonic() >= submission.due:
            submission.due = _next(submission)
            try:
                if reason := self._look_at(submission):
                    return True, reason
                submission.unseen_since = None
            except aws_errors() as error:
                self._look_failed(submission, error)
        return job.index not in self.running, None

    def drain(self) -> None:
        """Logs lag behind: follow them a while after the job has ended."""
        for submission in [s for s in self.draining if time.monotonic() >= s.due]:
            submission.due = _next(submission)
            late = time.monotonic() >= submission.drained_by
            self._follow(submission)
            if late or submission.follower is None or submission.follower.complete:
                self.draining.remove(submission)

    def _look_at(self, submission: Submission) -> str | None:
        """Take over what SageMaker says; why the job is to be submitted again, if it is."""
        job, training = submission.job, submission.training
        assert training is not None
        service, _ = self.regions.of(training)
        described = service.describe(training.name)
        if described is None:
            error = f"the training job {training.name} no longer exists"
            self._end(submission, Result(State.failed, error=error))
            return None
        before = training.note
        training.update(described, service.now())
        if not training.state.ended:
            submission.collect_failures = 0
        job.remote = training.entry()
        if training.note != before:
            self.sweep.save()
        if training.started:  # before that there is no log
            self._follow(submission)
        if training.state.ended:
            return self._ended(submission, training)
        if self._stopping_since and training.status == "InProgress":
            service.stop(training.name)  # the first time it was not heard
        if training.note == "Training":
            self._progress(training, submission)
        return None

    def _progress(self, training: TrainingJob, submission: Submission) -> None:
        """A busy store is no reason to lose sight of the job."""
        try:
            collect.progress(self.regions.of(training)[1], training, submission.job.directory)
        except aws_errors() as error:
            if not is_busy(error):
                raise

    def _follow(self, submission: Submission) -> None:
        """A log that cannot be read is no reason to lose sight of the job."""
        try:
            if submission.follower:
                submission.follower.poll()
        except aws_errors() as error:
            if not is_busy(error):
                submission.follower = None
                index = submission.job.index
                self.sweep.terminal.say(f"the log of #{index} cannot be read: {explain(error)}")

    def _look_failed(self, submission: Submission, error: Exception) -> None:
        """A service that may answer later is asked again, for an hour.

        What it never says is no end of the job: a resumed sweep finds it again.
        """
        job, training = submission.job, submission.training
        assert training is not None
        if is_expired(error):
            self.regions.reconnect()
        if is_busy(error) or is_expired(error):
            now = time.monotonic()
            submission.unseen_since = submission.unseen_since or now
            if now - submission.unseen_since < PATIENCE:
                self._say_once(f"waiting for SageMaker: {explain(error)}; the jobs go on")
                return
        else:
            submission.collect_failures += 1
            if submission.collect_failures < COLLECT_TRIES:
                return
            if training.state.ended:
                why = f"{training.status}, but its files could not be fetched: {explain(error)}"
                self._end(submission, Result(State.failed, error=why))
                return
        del self.running[submission.job.index]
        self.sweep.terminal.say(
            f"#{job.index} can no longer be watched: {explain(error)}\n"
            f"  resume the sweep to go on with it, or stop it with: "
            f"{self._stop_command(training)}"
        )

    def _say_once(self, text: str) -> None:
        if text != self._said:
            self.sweep.terminal.say(text)
        self._said = text

    def _ended(self, submission: Submission, training: TrainingJob) -> str | None:
        job, settings = submission.job, submission.settings
        if (reason := _lacked(submission, training)) and not self.interrupts:
            del self.running[job.index]
            return reason
        log, (_, storage) = self.sweep.log_file(job).name, self.regions.of(training)
        collect.fetch(storage, training, job.directory, log=log, spent=job.spent)
        result = collect.ending(self.sweep.result(job), training, settings.max_runtime)
        self._import(submission, training)
        self._end(submission, result)
        if submission.follower and not submission.follower.complete:
            drain = min(LOG_DRAIN, 20 * settings.poll_seconds)
            submission.drained_by = time.monotonic() + drain
            self.draining.append(submission)
        return None

    def _import(self, submission: Submission, training: TrainingJob) -> None:
        """Into MLflow, where the job itself could not write."""
        job, uri = submission.job, self.sweep.record.tracking.uri
        if not job.run_id or not uri or training.tracked:
            return
        from rlvr.tracking.store import server_errors

        try:
            mlflow_import.import_run(uri, job.run_id, job.directory)
        except server_errors() as error:
            self.sweep.terminal.say(f"#{job.index}: MLflow did not take the metrics: {error}")

    def _end(self, submission: Submission, result: Result) -> None:
        job, training = submission.job, submission.training
        assert training is not None
        del self.running[submission.job.index]
        job.remote = training.entry()
        result.cost = None if training.cost is None else job.spent + training.cost
        self.sweep.ended(job, result)

    def stop_all(self) -> None:
        """Tell every running job to stop; their ends are then seen and collected as usual."""
        self.sweep.terminal.say(
            f"stopping {len(self.running)} jobs; they may save for up to two minutes "
            "(again to leave them to it)"
        )
        self._stopping_since = self._stopping_since or time.monotonic()
        for submission in self.running.values():
            assert submission.training is not None
            submission.due = 0.0
            service, _ = self.regions.of(submission.training)
            try:
                service.stop(submission.training.name)
            except aws_errors() as error:
                self.sweep.terminal.say(
                    f"#{submission.job.index} could not be stopped: {explain(error)}; stop it "
                    f"with: {self._stop_command(submission.training)}"
                )

    def stops_too_long(self) -> bool:
        since = self._stopping_since
        return bool(self.running) and since is not None and time.monotonic() - since > LONGEST_STOP

    def name_running(self, why: str) -> None:
        """The jobs that outlive the launcher, each with the command that stops it."""
        lines = [
            f"  {s.job.label}: {self._stop_command(s.training)}"
            for s in self.running.values()
            if s.training
        ]
        if lines:
            self.sweep.terminal.say(
                f"{why}; resume the sweep to collect them, or stop them with:\n" + "\n".join(lines)
            )

    def _stop_command(self, training: TrainingJob) -> str:
        return self.regions.service(training.region).stop_command(training.name)

    def give_back(self) -> None:
        """Instances kept warm are billed like running ones: none waits for no job.

        Those of jobs that an earlier controller saw end are in the record too.
        """
        for job in self.sweep.record.jobs:
            entries = [*job.attempts, *([job.remote] if job.remote and job.state.ended else [])]
            for entry in entries:
                if entry.get("pool"):
                    self._give_back(job, entry)

    def _give_back(self, job: Job, entry: dict[str, Any]) -> None:
        training, before = TrainingJob.read(entry), entry.get("cost") or 0.0
        service, _ = self.regions.of(training)
        try:
            refresh(training, service)
            if training.kept_warm:
                service.release(training.name)
                refresh(training, service)  # it was billed until now
        except aws_errors() as error:
            self.sweep.terminal.say(
                f"the warm instance of #{job.index} could not be given back and is billed until "
                f"its time is over: {explain(error)}\n  try again: rlvr jobs stop "
                f"{self.sweep.directory}"
            )
        training.kept_warm = training.pool = False
        entry |= training.entry()
        if entry is not job.remote:
            job.spent += (training.cost or 0.0) - before
        if job.remote is not None:
            collect.complete_result(job.directory, TrainingJob.of(job), job.spent)
        self.sweep.save()


def refresh(training: TrainingJob, service: Service) -> bool:
    """Ask SageMaker; False for a job it does not know."""
    described = service.describe(training.name)
    if described is not None:
        training.update(described, service.now())
    return described is not None


def _lacked(submission: Submission, training: TrainingJob) -> str | None:
    """Why SageMaker could not run the job, or not to its end, where it may be submitted again."""
    reason = (training.failure_reason or "").strip()
    if training.state is State.failed and reason.startswith(RESUBMITTED):
        return reason if submission.may_be_retried else None
    waited = training.state is State.killed and training.note == "MaxWaitTimeExceeded"
    if waited and submission.has_untried_place:
        return "MaxWaitTimeExceeded: no spot capacity within launcher.max_wait"
    return None


def _next(submission: Submission) -> float:
    return time.monotonic() + submission.settings.poll_seconds * random.uniform(0.7, 1.3)
