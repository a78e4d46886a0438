"""Jobs on Amazon SageMaker: submitted as the service takes them, watched, and collected."""

import sys
import time
from collections.abc import Sequence

from rlvr.errors import UserError
from rlvr.launchers.sagemaker import budget
from rlvr.launchers.sagemaker.payload import reachable
from rlvr.launchers.sagemaker.request import RequestBuilder
from rlvr.launchers.sagemaker.service import Service, aws_errors, explain
from rlvr.launchers.sagemaker.settings import SageMakerSettings, refuse_swept
from rlvr.launchers.sagemaker.storage import Storage
from rlvr.launchers.sagemaker.submit import Queue
from rlvr.launchers.sagemaker.training_job import Submission, TrainingJob
from rlvr.launchers.sagemaker.watch import Watch
from rlvr.manifest import Job
from rlvr.sweep.controller import Sweep
from rlvr.sweep.interrupts import Interrupts
from rlvr.sweep.runner import Runner
from rlvr.sweep.transport import PickledTask

STOPPING = 150.0  # seconds; SageMaker kills a stopping job after 120


class SageMakerRunner(Runner):
    name = "sagemaker"
    settings = SageMakerSettings

    def read(self, job: Job) -> SageMakerSettings:
        return Submission.of(job).settings

    def prepare(self, jobs: Sequence[Job], sweep: Sweep) -> None:
        """Check settings and every request of the sweep, then credentials and bucket."""
        submissions = self.plan(jobs, sweep)
        if submissions[0].settings.resume is None:  # else some have finished
            budget.refuse(submissions, already=0.0)
        bucket = self.builder.storage.bucket
        try:
            self.service.s3.head_bucket(Bucket=bucket)
        except aws_errors() as error:
            raise UserError(
                f"SageMaker cannot be used: bucket {bucket}: {explain(error)}"
            ) from error

    def plan(self, jobs: Sequence[Job], sweep: Sweep, *, dry: bool = False) -> list[Submission]:
        """The jobs with their settings, and the builder of their requests, all checked.

        Asks AWS who the caller is, where no bucket is named; a `dry` one uploads nothing later.
        """
        submissions = [Submission.of(job) for job in jobs]
        refuse_swept([submission.settings for submission in submissions])
        first = submissions[0].settings
        self.service = Service.connect(first.region)
        tracking = submissions[0].config.get("tracking") or {}
        try:
            bucket = first.bucket or f"sagemaker-{self.service.region}-{self.service.account}"
            client = None if dry else self.service.s3
            self.builder = RequestBuilder(
                self.service,
                Storage(client, bucket, first.prefix, first.kms_key, dry=dry),
                tracked=tracking.get("name") == "mlflow" and reachable(tracking.get("uri")),
                ships_config=not isinstance(sweep.transport, PickledTask),
            )
            self.builder.check(submissions)
        except aws_errors() as error:
            raise UserError(f"SageMaker cannot be used: {explain(error)}") from error
        return submissions

    def queue_of(self, sweep: Sweep) -> Queue:
        """Of the sweep, which has its id and its MLflow store by now."""
        self.builder.sweep_id = sweep.record.sweep_id
        self.builder.tracked = reachable(sweep.record.tracking.uri)
        return Queue(sweep, self.builder)

    def attachable(self, job: Job) -> bool:
        """A job that ended badly while nobody watched is not waited for: it runs again."""
        training = TrainingJob.of(job)
        if training.region != self.service.region:
            raise UserError(
                f"{job.label} was submitted in {training.region}: resume the sweep with "
                f"launcher.region={training.region}"
            )
        deadline = time.monotonic() + STOPPING
        while (status := self._status(training)) == "Stopping" and time.monotonic() < deadline:
            time.sleep(1)  # its successor would write to the same checkpoints
        job.remote = training.entry()  # what it has cost since, whatever becomes of it
        return status in ("InProgress", "Stopping", "Completed")

    def _status(self, training: TrainingJob) -> str | None:
        try:
            described = self.service.describe(training.name)
        except aws_errors() as error:
            raise UserError(f"the state of {training.name} is unknown: {explain(error)}") from error
        if described is None:
            return None
        training.update(described, self.service.now())
        return training.status

    def begin(self) -> None:
        self.queue = self.queue_of(self.sweep)
        self.watch = Watch(self.sweep, self.service, self.builder.storage, self.interrupts)
        for job in self.running:
            self.watch.add(Submission.of(job))
        for job in self.waiting:
            self.queue.add(Submission.of(job))
        self.waiting.clear()
        self.queue.prepare()

    def submit(self) -> None:
        if submitted := self.queue.submit_next(len(self.running)):
            self.watch.add(submitted)
            self.running.append(submitted.job)

    def poll(self, job: Job) -> bool:
        over, again = self.watch.look(job)
        if over and again is None:
            self.queue.an_instance_is_free()
        if again is not None:
            self.queue.again(again)
        return over

    def busy(self) -> bool:
        if not self.queue.waiting:
            self.watch.give_back()
        self.watch.drain()
        return bool(self.queue.waiting or self.watch.draining)

    def withdraw(self) -> None:
        self.queue.leave()

    def cancel(self, requests: int) -> bool:
        """Stop the jobs and wait for them, or leave them and name them."""
        if requests == 1:
            answer = self.watch.on_interrupt
            if answer == "ask":
                answer = ask(len(self.running), self.interrupts)
            if answer == "detach":
                self.watch.name_running("these jobs go on without the launcher")
                return False
            self.watch.stop_all()
            if not self.interrupts.insistent:
                return True
        self.watch.name_running("these jobs were told to stop and are not waited for")
        return False

    def abandon(self) -> None:
        self.watch.name_running("the launcher stopped, these jobs go on")

    def close(self) -> None:
        self.watch.give_back()
        self.sweep.terminal.say(budget.summary(self.sweep.record.jobs, self.sweep.result))


def ask(running: int, interrupts: Interrupts) -> str:
    """Stop or detach? Without a terminal, or at a second Ctrl-C: stop."""
    if not sys.stdin.isatty():
        return "stop"
    import select

    count = interrupts.count
    print(f"\n{running} jobs run on SageMaker: [s]top them, [d]etach and leave them running? ")
    while interrupts.count == count:
        if select.select([sys.stdin], [], [], 0.2)[0]:
            return "detach" if sys.stdin.readline().strip().lower().startswith("d") else "stop"
    return "stop"
