"""Runs the jobs of a sweep on SageMaker: one loop that submits, watches and collects.

The loop is single-threaded on purpose: nothing in it can race. A job's name stands in the manifest
before its request is sent, so a controller that dies at any moment leaves no job that a resumed
sweep could lose or start twice.
"""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rlvr.errors import UserError
from rlvr.launchers.sagemaker import collect, leaving, mlflow_import, payload, pricing
from rlvr.launchers.sagemaker.logs import LogFollower
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
from rlvr.launchers.sagemaker.settings import Settings, spot_problem
from rlvr.launchers.sagemaker.storage import Storage
from rlvr.launchers.sagemaker.submission import Submission, choose_instance
from rlvr.launchers.sagemaker.training_job import TrainingJob
from rlvr.manifest import Job
from rlvr.paths import PROJECT
from rlvr.result import Result, code_state
from rlvr.states import State
from rlvr.sweep import compose
from rlvr.sweep.controller import Sweep
from rlvr.sweep.interrupts import Interrupts

TICK = 0.1
LOG_DRAIN = 30.0  # seconds that logs may lag behind the end of their job
LONGEST_PAUSE = 300.0
COLLECT_TRIES = 5
RESUBMITTED = ("CapacityError", "InternalServerError")


@dataclass
class Entry:
    """One job on its way. `due` is when to look at it next; `unsure` says that the answer to its
    request was lost, so that the job may exist."""

    job: Job
    settings: Settings
    config: dict[str, Any]
    remote: TrainingJob | None = None
    follower: LogFollower | None = None
    due: float = 0.0
    capacity_failures: int = 0
    collect_failures: int = 0
    drained_by: float = 0.0
    unsure: bool = False


@dataclass
class Campaign:
    sweep: Sweep
    service: Service
    storage: Storage
    interrupts: Interrupts
    submission: Submission = field(init=False)
    pending: list[Entry] = field(default_factory=list)
    running: list[Entry] = field(default_factory=list)
    draining: list[Entry] = field(default_factory=list)
    pause: float = 0.0
    next_submit: float = 0.0
    waiting_reason: str = ""
    answered: int = 0
    warm: list[Entry] = field(default_factory=list)
    _git: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        self.submission = Submission(self.service, self.storage, self.sweep.record.sweep_id)

    def run(self, jobs: Sequence[Job]) -> None:
        """Returns when every job has ended, or has been left to itself and named."""
        try:
            for job in jobs:
                self._take(job)
            self._prepare()
            self._loop()
            self._say_warm()
        except BaseException:
            leaving.name_running(self, "the launcher stopped, these jobs go on")
            raise

    def _take(self, job: Job) -> None:
        config = compose.resolved(job.config)
        entry = Entry(job, Settings.read(config.get("launcher") or {}), config)
        if job.is_remote():
            return self._attach(entry)
        if problem := spot_problem(entry.settings, config):
            raise UserError(f"job {job.label}: {problem}")
        self.pending.append(entry)

    def _prepare(self) -> None:
        """Upload the code once, and say what the sweep may cost."""
        if not self.pending:
            return
        self._git = code_state(PROJECT)[0]
        try:
            for entry in self.pending:
                self._pack(entry)
        except aws_errors() as error:
            raise UserError(
                f"the upload to s3://{self.storage.bucket} failed, no job was started: "
                f"{explain(error)}"
            ) from error
        self.sweep.terminal.say(self._estimate())

    def _pack(self, entry: Entry) -> None:
        zero3 = (entry.config.get("trainer") or {}).get("distributed") == "zero3"
        packed = self.submission.pack(entry.settings, tracked=self._tracked(entry), deepspeed=zero3)
        if packed is not None:
            self.sweep.terminal.say(packed.describe())

    def _estimate(self) -> str:
        most = [
            pricing.cost(
                self._instance(entry),
                entry.settings.instance_count,
                entry.settings.max_runtime,
                entry.settings.prices,
            )
            for entry in self.pending
        ]
        kinds = ", ".join(sorted({self._instance(entry) for entry in self.pending}))
        known = [price for price in most if price is not None]
        total = pricing.describe(sum(known)) if len(known) == len(most) else "price unknown"
        return f"{len(most)} jobs on {kinds}; at most {total} if all run to max_runtime"

    def _instance(self, entry: Entry) -> str:
        tried = entry.settings.fallback_instance_types
        if entry.capacity_failures and tried:
            return tried[min(entry.capacity_failures, len(tried)) - 1]
        return choose_instance(entry.settings, entry.config)

    def _tracked(self, entry: Entry) -> bool:
        """Whether the job writes to MLflow itself."""
        return payload.reachable(self.sweep.record.tracking.uri)

    def _loop(self) -> None:
        while self.pending or self.running or self.draining:
            if self.interrupts.count > self.answered and leaving.interrupted(self):
                return
            self._submit_next()
            self._look()
            self._drain()
            time.sleep(TICK)

    # submitting

    def _submit_next(self) -> None:
        if not self.pending or self.interrupts or time.monotonic() < self.next_submit:
            return
        entry = self.pending[0]
        if len(self.running) >= entry.settings.n_jobs:
            return
        self.pending.pop(0)
        try:
            self._submit(entry)
        except aws_errors() as error:
            self._not_submitted(entry, error)
        except UserError as error:
            self._end(entry, Result(State.failed, error=str(error)))

    def _submit(self, entry: Entry) -> None:
        job, settings = entry.job, entry.settings
        remote = self.submission.remote(job.index, job.hash, settings, entry.config)
        remote.instance_type = self._instance(entry)
        remote.tracked, remote.git = self._tracked(entry), self._git
        remote.earlier = self._earlier(entry)
        if entry.unsure and entry.remote:  # under the same name it cannot be started twice
            remote.name = entry.remote.name
        module = self.sweep.command(job)[2]
        request = self.submission.request(
            remote,
            settings,
            payload.make(job.directory, module, tracked=remote.tracked),
            index=job.index,
            overrides=job.overrides,
            environment=self._environment(entry),
        )
        entry.remote = remote
        self.sweep.submitted(job, remote.entry())
        self._create(request)
        entry.unsure = False
        self._watch(entry)
        self.sweep.started(job)
        self.sweep.terminal.say(f"    {remote.instance_type}  {self.service.console(remote.name)}")
        self.pause, self.waiting_reason = 0.0, ""

    def _create(self, request: dict[str, Any]) -> None:
        from botocore.exceptions import ClientError

        try:
            self.service.sagemaker.create_training_job(**request)
        except ClientError as error:
            # nobody else has this name: an earlier try of this very call got through
            if code(error) != IN_USE:
                raise

    def _earlier(self, entry: Entry) -> list[str]:
        """Names of submissions that ended without having run."""
        before = entry.remote
        return [*before.earlier, before.name] if before and entry.capacity_failures else []

    def _environment(self, entry: Entry) -> dict[str, str]:
        own = self.sweep.environment(entry.job)
        own.pop("PYTHONPATH")
        if not self._tracked(entry):
            own.pop("RLVR_RUN_ID", None)
        return own

    def _back_to_pending(self, entry: Entry) -> None:
        job = entry.job
        job.state, job.remote, job.started = State.pending, None, None
        self.sweep.record.save(self.sweep.directory)

    def _not_submitted(self, entry: Entry, error: Exception) -> None:
        """Full or busy: the job waits. Anything else is this job's failure."""
        full = getattr(error, "response", None) and code(error) == QUOTA
        if (full and " is 0 Instances" not in str(error)) or is_busy(error):
            entry.unsure = entry.unsure or (is_unsure(error) and entry.job.is_remote())
            if not entry.unsure:
                self._back_to_pending(entry)
            self.pending.insert(0, entry)
            self.pause = min(LONGEST_PAUSE, max(entry.settings.poll_seconds, 2 * self.pause))
            self.next_submit = time.monotonic() + self.pause * random.uniform(0.5, 1.0)
            reason = explain(error)
            if reason != self.waiting_reason:
                self.sweep.terminal.say(f"waiting to submit #{entry.job.index}: {reason}")
            self.waiting_reason = reason
            return
        self._end(entry, Result(State.failed, error=f"not submitted: {explain(error)}"))

    def _attach(self, entry: Entry) -> None:
        assert entry.job.remote
        entry.remote = TrainingJob.read(entry.job.remote)
        self._watch(entry)

    def _watch(self, entry: Entry) -> None:
        assert entry.remote
        entry.follower = LogFollower(
            self.service, entry.remote.name, self.sweep.log_file(entry.job)
        )
        entry.due = self._next(entry)
        self.running.append(entry)

    def _next(self, entry: Entry) -> float:
        return time.monotonic() + entry.settings.poll_seconds * random.uniform(0.7, 1.3)

    # watching

    def _look(self) -> None:
        for entry in [e for e in self.running if time.monotonic() >= e.due]:
            entry.due = self._next(entry)
            try:
                self._look_at(entry)
            except aws_errors() as error:
                self._look_failed(entry, error)
            if self.interrupts.count > self.answered:
                return

    def _look_at(self, entry: Entry) -> None:
        assert entry.remote
        described = self.service.describe(entry.remote.name)
        if described is None:
            self.running.remove(entry)
            error = f"the training job {entry.remote.name} no longer exists"
            return self._end(entry, Result(State.failed, error=error))
        before = entry.remote.note
        entry.remote.update(described, time.time())
        entry.job.remote = entry.remote.entry()
        if entry.remote.note != before:
            self.sweep.record.save(self.sweep.directory)
        if entry.remote.started:  # before that there is no log
            self._follow(entry)
        if entry.remote.state.ended:
            return self._ended(entry)
        if entry.remote.note == "Training":
            collect.progress(self.storage, entry.remote, entry.job.directory)

    def _follow(self, entry: Entry) -> None:
        """A log that cannot be read is no reason to lose sight of the job."""
        try:
            if entry.follower:
                entry.follower.poll()
        except aws_errors() as error:
            if not is_busy(error):
                entry.follower = None
                index = entry.job.index
                self.sweep.terminal.say(f"the log of #{index} cannot be read: {explain(error)}")

    def _look_failed(self, entry: Entry, error: Exception) -> None:
        """A busy service is asked again; a job whose files cannot be fetched must not hang."""
        assert entry.remote
        if is_busy(error) and not entry.remote.state.ended:
            return
        entry.collect_failures += 1
        if entry.collect_failures < COLLECT_TRIES:
            return
        self.running.remove(entry)
        if not entry.remote.state.ended:
            self.sweep.terminal.say(
                f"#{entry.job.index} can no longer be watched: {explain(error)}\n"
                f"  it goes on; stop it with: {self.service.stop_command(entry.remote.name)}"
            )
            return
        why = f"{entry.remote.status}, but its files could not be fetched: {explain(error)}"
        self._end(entry, Result(State.failed, error=why))

    def _ended(self, entry: Entry) -> None:
        remote = entry.remote
        assert remote
        if self._resubmitted(entry, remote.failure_reason or ""):
            return
        log = self.sweep.log_file(entry.job)
        collect.fetch(self.storage, remote, entry.job.directory, log=log.name)
        found = self.sweep.result(entry.job)
        result = collect.ending(found, remote, entry.settings.max_runtime)
        self._import(entry)
        self.running.remove(entry)
        self._end(entry, result)
        if entry.settings.warm_pool and not remote.spot and remote.state is State.finished:
            self.warm.append(entry)
        if entry.follower and not entry.follower.complete:
            entry.drained_by = time.monotonic() + min(LOG_DRAIN, 20 * entry.settings.poll_seconds)
            self.draining.append(entry)
        self.next_submit = 0.0  # an instance is free again

    def _say_warm(self) -> None:
        """Instances that wait for the next job are billed like running ones."""
        if self.warm:
            minutes = max(entry.settings.warm_pool for entry in self.warm) / 60
            self.sweep.terminal.say(
                f"up to {min(len(self.warm), self.warm[0].settings.n_jobs)} instances are kept "
                f"warm, and billed, for {minutes:.0f} minutes: the next jobs start on them at "
                f"once. Give them back with: rlvr jobs stop {self.sweep.directory}"
            )

    def _resubmitted(self, entry: Entry, reason: str) -> bool:
        assert entry.remote
        if entry.remote.state is not State.failed or not reason.startswith(RESUBMITTED):
            return False
        if entry.capacity_failures >= entry.settings.retries or self.interrupts:
            return False
        entry.capacity_failures += 1
        self.running.remove(entry)
        self.sweep.terminal.say(f"#{entry.job.index} is submitted again: {reason.strip()}")
        self._back_to_pending(entry)
        self.pending.append(entry)
        self.next_submit = time.monotonic() + entry.settings.poll_seconds * random.uniform(0.5, 1)
        return True

    def _import(self, entry: Entry) -> None:
        """Into MLflow, where the job itself could not write."""
        run_id, uri = entry.job.run_id, self.sweep.record.tracking.uri
        if run_id and uri and entry.remote and not entry.remote.tracked:
            from rlvr.tracking.store import server_errors

            try:
                mlflow_import.import_run(uri, run_id, entry.job.directory)
            except server_errors() as error:
                index = entry.job.index
                self.sweep.terminal.say(f"#{index}: MLflow did not take the metrics: {error}")

    def _end(self, entry: Entry, result: Result) -> None:
        if entry.remote:
            entry.job.remote = entry.remote.entry()
        self.sweep.ended(entry.job, result)

    def _drain(self) -> None:
        """Logs lag behind: follow them a while after the job has ended."""
        for entry in [e for e in self.draining if time.monotonic() >= e.due]:
            entry.due = self._next(entry)
            late = time.monotonic() >= entry.drained_by
            self._follow(entry)
            if late or entry.follower is None or entry.follower.complete:
                self.draining.remove(entry)
