"""Jobs on Amazon SageMaker: one loop that submits, watches and collects.

The loop is single-threaded on purpose: nothing in it can race.
"""

import sys
import time
from collections.abc import Sequence
from typing import Any

from rlvr.errors import UserError
from rlvr.launchers.sagemaker import budget
from rlvr.launchers.sagemaker.payload import reachable
from rlvr.launchers.sagemaker.request import RequestBuilder
from rlvr.launchers.sagemaker.service import Service, aws_errors, explain
from rlvr.launchers.sagemaker.settings import KEYS, refuse_swept
from rlvr.launchers.sagemaker.storage import Storage
from rlvr.launchers.sagemaker.submit import Queue
from rlvr.launchers.sagemaker.training_job import Submission, TrainingJob
from rlvr.launchers.sagemaker.watch import Watch
from rlvr.manifest import Job
from rlvr.sweep.controller import Sweep
from rlvr.sweep.interrupts import Interrupts
from rlvr.sweep.transport import PickledTask

TICK = 0.1
STOPPING = 150.0  # seconds; SageMaker kills a stopping job after 120


class SageMakerRunner:
    name = "sagemaker"
    settings = KEYS - {"name", "resume", "extend"}

    def prepare(self, settings: dict[str, Any], jobs: Sequence[Job], sweep: Sweep) -> None:
        """Check settings and every request of the sweep, then credentials and bucket."""
        submissions = self.plan(jobs, sweep)
        if settings.get("resume") is None:  # else some have finished
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

    def queue(self, sweep: Sweep) -> Queue:
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

    def run(self, jobs: Sequence[Job], sweep: Sweep, interrupts: Interrupts) -> None:
        """Returns when every job has ended, or has been left to itself and named."""
        queue = self.queue(sweep)
        watch = Watch(sweep, self.service, self.builder.storage, interrupts)
        try:
            for job in jobs:
                (watch if job.is_remote() else queue).add(Submission.of(job))
            queue.prepare()
            loop(queue, watch, interrupts)
        except BaseException:
            watch.name_running("the launcher stopped, these jobs go on")
            raise
        finally:
            watch.give_back()
            sweep.terminal.say(budget.summary(sweep.record.jobs, sweep.result))


def loop(queue: Queue, watch: Watch, interrupts: Interrupts) -> None:
    answered = 0
    while queue.waiting or watch.running or watch.draining:
        if interrupts.count > answered:
            first, answered = answered == 0, interrupts.count
            queue.leave()
            if watch.running and leaves_running(watch, interrupts, first=first):
                return
        if submitted := queue.submit_next(len(watch.running)):
            watch.add(submitted)
        before = len(watch.running)
        again = watch.look()
        if len(watch.running) + len(again) < before:
            queue.an_instance_is_free()
        for submission in again:
            queue.again(submission)
        if not queue.waiting:
            watch.give_back()
        watch.drain()
        if watch.stops_too_long():
            watch.name_running("these jobs were told to stop long ago and have not ended")
            return
        time.sleep(TICK)


def leaves_running(watch: Watch, interrupts: Interrupts, *, first: bool) -> bool:
    """Answer a Ctrl-C: stop the jobs and wait for them, or (True) leave them and name them."""
    if first:
        answer = watch.running[0].settings.on_interrupt
        if answer == "ask":
            answer = ask(len(watch.running), interrupts)
        if answer == "detach":
            watch.name_running("these jobs go on without the launcher")
            return True
        watch.stop_all()
        if not interrupts.insistent:
            return False
    watch.name_running("these jobs were told to stop and are not waited for")
    return True


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
