"""A sweep as its directory has it: its record, what its jobs have left, and how it ends."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlvr import manifest, tracking
from rlvr.manifest import Job, Manifest
from rlvr.result import Result
from rlvr.states import State
from rlvr.sweep import terminal, transport
from rlvr.sweep.interrupts import Interrupts
from rlvr.sweep.notify import send
from rlvr.sweep.transport import Transport

log = logging.getLogger(__name__)


class RecordedSweep:
    """`directory` has the manifest; `transport` knows how a job's result is kept.

    `goes_on` says that jobs are left to run, or to be submitted, while nobody watches; `notify` is
    who is told of the end.
    """

    def __init__(
        self, directory: Path, transport: Transport, record: Manifest | None = None
    ) -> None:
        self.directory, self.transport = directory, transport
        self.terminal = terminal.Terminal()
        self.goes_on = False
        self.notify: str | None = None
        self._record = record

    @property
    def record(self) -> Manifest:
        assert self._record is not None
        return self._record

    @property
    def asked(self) -> list[str]:
        """The command that asks for these jobs."""
        return self.record.command

    def log_file(self, job: Job) -> Path:
        return self.transport.log(job, Path(self.record.command[1]).stem)

    def result(self, job: Job) -> Result | None:
        """What the job itself left, if anything."""
        return self.transport.result(job.directory)

    def submitted(self, job: Job, remote: dict[str, Any]) -> None:
        """`remote` is what finds the job again; it stays pending until `started`."""
        job.remote = remote
        self.save()

    def started(self, job: Job, pid: int | None = None, pid_started: int | None = None) -> None:
        job.state, job.started, job.ended = State.running, manifest.now(), None
        job.pid, job.pid_started = pid, pid_started
        self.save()
        self.terminal.changed(job)

    def ended(self, job: Job, result: Result) -> None:
        job.state, job.ended = result.status, manifest.now()
        job.pid = job.pid_started = None
        job.value, job.error = result.metric, result.error
        if self.result(job) is None:
            known = replace(result, overrides=job.overrides, run_id=job.run_id)
            self.transport.write_result(job.directory, known)
        self.save()
        self.end_run(job, job.state)
        self.terminal.changed(job)

    def prune(self) -> None:
        """Called each round; what goes on without a controller is not pruned."""

    def save(self) -> None:
        self.record.save(self.directory)

    def end_run(self, job: Job, state: State) -> None:
        tracking.end_run(self.record.tracking.uri, job.run_id, state)

    def finish(self, jobs: list[Job], interrupts: Interrupts) -> None:
        """The comparison, the report and the sweep's own end in MLflow; what is missing is said."""
        if self.goes_on:
            return
        for job in jobs:
            if job.state is State.pending and not job.is_remote():
                self.end_run(job, State.killed)
        state = overall(jobs)
        try:
            self._present(jobs)
        finally:
            where = self.record.tracking
            tracking.end_run(where.uri, where.parent_run_id, state)
        if state is not State.finished:
            self._say_unfinished(jobs, interrupted=bool(interrupts))

    def _present(self, jobs: Sequence[Job]) -> None:
        """Nothing that goes wrong in comparison, report or message may hide the jobs' results."""
        steps = [] if self.notify is None else [("message was sent", lambda: self._tell(jobs))]
        if not isinstance(self.transport, transport.PickledTask):
            compare = ("comparison could be made: rlvr compare", self._compare)
            steps = [compare, ("report could be made: rlvr report", self._report), *steps]
        for what, make in steps:
            try:
                make()
            except Exception:
                log.exception("no %s (%s)", what, self.directory)

    def _tell(self, jobs: Sequence[Job]) -> None:
        assert self.notify is not None
        lines = [
            f"{job.label}: {job.state} {job.value if job.error is None else job.error}"
            for job in jobs
        ]
        subject = f"rlvr {self.record.name}: {terminal.counts(jobs)}"
        send(self.notify, subject, "\n".join([subject, *lines, f"{self.directory.absolute()}"]))

    def _compare(self) -> None:
        from rlvr.compare import compare

        compare.report(self.directory)

    def _report(self) -> None:
        from rlvr.compare import page

        self.terminal.say(f"report: {page.report(self.directory)}")

    def _say_unfinished(self, jobs: Sequence[Job], *, interrupted: bool) -> None:
        named = (State.failed,) if interrupted else (State.failed, State.killed)
        failed = [
            (job, self.log_file(job), (self.result(job) or Result()).traceback)
            for job in jobs
            if job.state in named
        ]
        if failed:
            self.terminal.say(terminal.errors(failed) + "\n")
        again = terminal.resume_command(self.asked, self.directory)
        self.terminal.say(f"{terminal.counts(jobs)}. To run what is missing:\n  {again}")


def overall(jobs: Sequence[Job]) -> State:
    """The sweep's own state: one failure is a failure, a stop is a stop."""
    states = {job.state for job in jobs}
    if any(job.is_remote() for job in jobs):
        return State.running  # they were left to go on
    if State.failed in states:
        return State.failed
    return State.finished if all(state.complete for state in states) else State.killed
