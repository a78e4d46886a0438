"""Jobs on Amazon SageMaker: submitted as the service takes them, watched, and collected."""

import sys
import time
from collections.abc import Sequence
from dataclasses import replace

from rlvr.errors import UserError
from rlvr.launchers.sagemaker import budget, managed_mlflow, pricing
from rlvr.launchers.sagemaker.payload import reachable
from rlvr.launchers.sagemaker.places import places
from rlvr.launchers.sagemaker.record import BucketRecord
from rlvr.launchers.sagemaker.regions import Regions
from rlvr.launchers.sagemaker.request import RequestBuilder
from rlvr.launchers.sagemaker.service import aws_errors, explain
from rlvr.launchers.sagemaker.settings import SageMakerSettings, refuse_swept
from rlvr.launchers.sagemaker.submit import Queue
from rlvr.launchers.sagemaker.training_job import Submission, TrainingJob
from rlvr.launchers.sagemaker.watch import Watch, refresh
from rlvr.manifest import Job
from rlvr.paths import PROJECT
from rlvr.result import code_state
from rlvr.states import State
from rlvr.sweep.controller import Sweep
from rlvr.sweep.interrupts import Interrupts
from rlvr.sweep.runner import Runner
from rlvr.sweep.transport import PickledTask
from rlvr.tracking import RUN_ID_VARIABLE

STOPPING = 150.0  # seconds; SageMaker kills a stopping job after 120
CODE_LIST = "code.txt"


class RecordedRunner(Runner):
    """Goes on with a sweep whose requests are made: by this machine, or found in the bucket.

    `submissions` are those of the jobs by index. With `once` it looks at each running job, submits
    what the service takes, unless it `only_collects`, and returns.
    """

    name = "sagemaker"
    settings = SageMakerSettings
    regions: Regions
    submissions: dict[int, Submission]
    once = only_collects = False

    def begin(self) -> None:
        self.queue = Queue(self.sweep, self.regions)
        self.watch = Watch(self.sweep, self.regions, self.interrupts)
        home = self.regions.storage(self.regions.home)
        self.copy = BucketRecord(home, self.sweep.record.sweep_id)
        for job in list(self.running):
            submission = self.submissions[job.index]
            unseen = job.state is State.pending and TrainingJob.of(job).status == "Submitting"
            if unseen:  # it may not have been made
                submission.training, submission.unsure = TrainingJob.of(job), True
                self.queue.waiting.append(submission)
                self.running.remove(job)
            else:
                self.watch.add(submission)
        self.queue.waiting += [self.submissions[job.index] for job in self.waiting]
        self.waiting.clear()

    def loop(self) -> None:
        if not self.once:
            super().loop()
            return
        for job in list(self.running):
            self.submissions[job.index].due = 0.0
            if self.poll(job):
                self.running.remove(job)
        while self._may_submit_now():
            self.submit()
            time.sleep(self.tick)
        self.sweep.goes_on = any(
            job.is_remote() or job.state is State.pending for job in self.sweep.record.jobs
        )

    def _may_submit_now(self) -> bool:
        if not self.queue.waiting or self.queue.full or self.interrupts or self.only_collects:
            return False
        return self.queue.can_be_paid()

    def submit(self) -> None:
        waiting = self.queue.waiting
        if not waiting or (len(self.running) >= waiting[0].settings.n_jobs and not self.once):
            return
        if not self.queue.can_be_paid():
            self.watch.give_back()  # an idle instance costs what the next job could
            if not self.running and not self.queue.can_be_paid():
                spent = pricing.describe(budget.spent(self.sweep.record.jobs))
                limit = f"launcher.max_cost={waiting[0].settings.max_cost:g}"
                self.queue.give_up(
                    f"{limit}: with {spent} spent, the next job could pass it. Raise it"
                )
            return
        if submitted := self.queue.submit_next():
            self.watch.add(submitted)
            self.running.append(submitted.job)

    def poll(self, job: Job) -> bool:
        over, retry = self.watch.look(job)
        if retry is not None:
            self.queue.again(self.submissions[job.index], retry)
        elif over:
            self.queue.an_instance_is_free()
        return over

    def busy(self) -> bool:
        if not self.queue.waiting:
            self.watch.give_back()
        self.watch.drain()
        self.copy.copy(self.sweep.directory)
        return bool(self.queue.waiting or self.watch.draining)

    def withdraw(self) -> None:
        self.queue.leave()

    def cancel(self, requests: int) -> bool:
        """Stop the jobs and wait for them, or leave them and name them."""
        if requests == 1:
            answer = self.submissions[self.running[0].index].settings.on_interrupt
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
        self.sweep.save()
        self.copy.copy(self.sweep.directory, now=True)
        if self.sweep.goes_on:
            self.sweep.terminal.say(
                f"{len(self.running)} jobs run, {len(self.queue.waiting)} are still to be "
                f"submitted. To go on with them:\n  rlvr jobs watch {self.sweep.directory}\n"
                f"from another machine:\n  rlvr jobs watch {self.copy.uri}"
            )
        self.sweep.terminal.say(budget.summary(self.sweep.record.jobs, self.sweep.result))


class SageMakerRunner(RecordedRunner):
    """Makes the requests of a new sweep, or of a resumed one, from its configuration."""

    def read(self, job: Job) -> SageMakerSettings:
        return Submission.of(job).settings

    def prepare(self, jobs: Sequence[Job], sweep: Sweep) -> None:
        """Check settings and every request of the sweep, then credentials, buckets and MLflow."""
        submissions = self.plan(jobs, sweep)
        budget.refuse_unpriced(submissions)
        if submissions[0].settings.resume is None:  # else some have finished
            budget.refuse(submissions, already=0.0)
        for region in self.regions.names:
            bucket = self.regions.bucket(region)
            try:
                self.regions.service(region).s3.head_bucket(Bucket=bucket)
            except aws_errors() as error:
                raise UserError(
                    f"SageMaker cannot be used: bucket {bucket}: {explain(error)}"
                ) from error
        uri = str((submissions[0].config.get("tracking") or {}).get("uri"))
        if managed_mlflow.is_managed(uri):
            managed_mlflow.check(uri, self.regions.service)

    def plan(self, jobs: Sequence[Job], sweep: Sweep, *, dry: bool = False) -> list[Submission]:
        """The jobs with their settings, and the builder of their requests, all checked.

        Asks AWS who the caller is, where no bucket is named; a `dry` one uploads nothing later.
        """
        submissions = [Submission.of(job) for job in jobs]
        refuse_swept([submission.settings for submission in submissions])
        tracking = submissions[0].config.get("tracking") or {}
        try:
            self.regions = Regions(submissions[0].settings, dry=dry)
            submissions = [self._at_home(submission) for submission in submissions]
            self.builder = RequestBuilder(
                self.regions,
                tracked=tracking.get("name") == "mlflow" and reachable(tracking.get("uri")),
                ships_config=not isinstance(sweep.transport, PickledTask),
                git=code_state(PROJECT)[0],
            )
            self.builder.check(submissions)
        except aws_errors() as error:
            raise UserError(f"SageMaker cannot be used: {explain(error)}") from error
        return submissions

    def _at_home(self, submission: Submission) -> Submission:
        """Its places begin in the region that AWS's own configuration may have named."""
        found = places(submission.settings, submission.config, self.regions.home)
        return replace(submission, places=found)

    def attachable(self, job: Job) -> bool:
        """A job that ended badly while nobody watched is not waited for: it runs again."""
        training = TrainingJob.of(job)
        deadline = time.monotonic() + STOPPING
        while (status := self._status(training)) == "Stopping" and time.monotonic() < deadline:
            time.sleep(1)  # its successor would write to the same checkpoints
        # What it has cost since, whatever becomes of it. One that was never made leaves its name.
        job.remote = None if status is None else training.entry()
        return status in ("InProgress", "Stopping", "Completed")

    def _status(self, training: TrainingJob) -> str | None:
        service = self.regions.service(training.region)
        try:
            return training.status if refresh(training, service) else None
        except aws_errors() as error:
            raise UserError(f"the state of {training.name} is unknown: {explain(error)}") from error

    def begin(self) -> None:
        """Say what the sweep may cost and what goes up, and upload what jobs share, once."""
        jobs = [*self.running, *self.waiting]
        self.submissions = {job.index: self._at_home(Submission.of(job)) for job in jobs}
        super().begin()
        self.once = next(iter(self.submissions.values())).settings.detach
        self.sweep.record.cloud = {"region": self.regions.home, "uri": self.copy.uri}
        self.make_ready(self.sweep, list(self.submissions.values()))
        self.queue.upload = self.builder.upload_shared
        if waiting := self.queue.waiting:
            already = budget.spent(self.sweep.record.jobs)
            if not already:  # else what runs goes on, and the rest waits for what it really costs
                budget.refuse(waiting, already)
            self._describe(waiting, already)
            self._upload(waiting)

    def make_ready(self, sweep: Sweep, submissions: Sequence[Submission]) -> None:
        """All requests and files, of the sweep that has its id and its MLflow store by now."""
        self.builder.sweep_id = sweep.record.sweep_id
        self.builder.tracked = reachable(sweep.record.tracking.uri)
        for submission in submissions:
            job = submission.job
            environment = sweep.environment(job)
            environment.pop("PYTHONPATH")
            if not self.builder.tracked:
                environment.pop(RUN_ID_VARIABLE, None)
            self.builder.make_ready(submission, sweep.command(job)[2], environment)

    def _describe(self, waiting: Sequence[Submission], already: float) -> None:
        builder = self.builder
        archives = {a.digest: a for a in (builder.code(s, s.next.place) for s in waiting)}.values()
        for archive in archives:
            self.sweep.terminal.say(archive.describe())
        listed = sorted({name for archive in archives for name in archive.files})
        (self.sweep.directory / CODE_LIST).write_text("\n".join(listed) + "\n", encoding="utf-8")
        self.sweep.terminal.say(budget.announce(waiting, already))

    def _upload(self, waiting: Sequence[Submission]) -> None:
        """Of a sweep that any machine may go on with, to wherever its jobs may come to run."""
        try:
            for submission in waiting:
                ready = submission.ready if submission.settings.detach else [submission.next]
                for place in dict.fromkeys(each.place for each in ready):
                    self.builder.upload_shared(submission, place)
            if self.builder.ships_config:
                self.copy.put_requests(waiting)
        except aws_errors() as error:
            raise UserError(
                f"the upload to s3://{self.copy.storage.bucket} failed, no job was started: "
                f"{explain(error)}"
            ) from error


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
