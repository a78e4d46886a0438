"""Jobs on Amazon SageMaker: one loop that submits, watches and collects.

The loop is single-threaded on purpose: nothing in it can race.
"""

import sys
import time
from collections.abc import Sequence
from typing import Any

from rlvr.errors import UserError
from rlvr.launchers.sagemaker.service import Service, aws_errors, explain
from rlvr.launchers.sagemaker.settings import KEYS, Settings
from rlvr.launchers.sagemaker.storage import Storage
from rlvr.launchers.sagemaker.submit import Queue
from rlvr.launchers.sagemaker.training_job import Submission, TrainingJob
from rlvr.launchers.sagemaker.watch import Watch
from rlvr.manifest import Job
from rlvr.sweep.controller import Sweep
from rlvr.sweep.interrupts import Interrupts

TICK = 0.1
STOPPING = 150.0  # seconds; SageMaker kills a stopping job after 120


class SageMakerRunner:
    name = "sagemaker"
    settings = KEYS - {"name", "resume", "extend"}

    def prepare(self, settings: dict[str, Any], jobs: int) -> None:
        """Check settings, credentials and bucket."""
        checked = Settings.read(settings)
        self.service = Service.connect(checked.region)
        bucket = checked.bucket
        try:
            bucket = bucket or f"sagemaker-{self.service.region}-{self.service.account}"
            self.service.s3.head_bucket(Bucket=bucket)
        except aws_errors() as error:
            where = f"bucket {bucket}: " if bucket else ""
            raise UserError(f"SageMaker cannot be used: {where}{explain(error)}") from error
        self.storage = Storage(self.service.s3, bucket, checked.prefix, checked.kms_key)

    def attachable(self, job: Job) -> bool:
        """A job that ended badly while nobody watched is not waited for: it runs again."""
        name = TrainingJob.of(job).name
        deadline = time.monotonic() + STOPPING
        while (status := self._status(name)) == "Stopping" and time.monotonic() < deadline:
            time.sleep(1)  # its successor would write to the same checkpoints
        return status in ("InProgress", "Stopping", "Completed")

    def _status(self, name: str) -> str | None:
        try:
            described = self.service.describe(name)
        except aws_errors() as error:
            raise UserError(f"the state of {name} is unknown: {explain(error)}") from error
        return described["TrainingJobStatus"] if described else None

    def run(self, jobs: Sequence[Job], sweep: Sweep, interrupts: Interrupts) -> None:
        """Returns when every job has ended, or has been left to itself and named."""
        queue = Queue(sweep, self.service, self.storage)
        watch = Watch(sweep, self.service, self.storage, interrupts)
        try:
            for job in jobs:
                (watch if job.is_remote() else queue).add(Submission.of(job))
            queue.prepare()
            loop(queue, watch, interrupts)
            watch.name_warm()
        except BaseException:
            watch.name_running("the launcher stopped, these jobs go on")
            raise


def loop(queue: Queue, watch: Watch, interrupts: Interrupts) -> None:
    answered = 0
    while queue.waiting or watch.running or watch.draining:
        if interrupts.count > answered:
            first, answered = answered == 0, interrupts.count
            queue.waiting.clear()
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
        watch.drain()
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
