"""One sweep, from Hydra's overrides to the finished table. All launchers share it: each of them
brings a `Runner`, whose only work is to run the jobs it is given and to say when each ends.
"""

import logging
import os
import sys
import sysconfig
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from rlvr import manifest
from rlvr.errors import UserError
from rlvr.manifest import Job, Manifest
from rlvr.result import Result
from rlvr.states import State
from rlvr.sweep import compose, resume, runs, summary, transport
from rlvr.sweep.compose import Request
from rlvr.sweep.interrupts import Interrupts
from rlvr.sweep.terminal import Terminal

log = logging.getLogger(__name__)


@dataclass
class Task:
    """A job of the manifest together with what it takes to run it."""

    job: Job
    request: Request
    directory: Path


class Runner(Protocol):
    """What a launcher is. `settings` are the keys it knows in the config's `launcher` node."""

    name: str
    settings: frozenset[str]

    def prepare(self, settings: dict[str, Any], tasks: int) -> None:
        """Check settings and machine; raises UserError before anything is created."""

    def attachable(self, job: Job) -> bool:
        """Does this job of an earlier controller still run, so that `run` can wait for it?"""

    def run(self, tasks: Sequence[Task], sweep: "Sweep", interrupts: Interrupts) -> None:
        """Run every task, or wait for it where `task.job.is_remote()`. Call `sweep.submitted`
        (remote jobs), `sweep.started` and `sweep.ended`. Once `interrupts` is true, end the
        jobs that run and start no more."""


class Sweep:
    def __init__(
        self,
        runner: Runner,
        *,
        hydra_context: HydraContext,
        task_function: TaskFunction,
        config: DictConfig,
    ) -> None:
        self.runner = runner
        self.loader = hydra_context.config_loader
        self.master = config
        self.task_function = task_function
        self.transport = transport.choose(task_function, hydra_context)
        self.directory = Path(str(config.hydra.sweep.dir))
        self.terminal = Terminal()
        self._record: Manifest | None = None
        self._earlier: list[Job] = []

    @property
    def record(self) -> Manifest:
        assert self._record is not None
        return self._record

    def launch(self, job_overrides: Sequence[Sequence[str]], first_index: int) -> list[JobReturn]:
        """Run the jobs and return their results in order; raises KeyboardInterrupt after a stop."""
        requests = compose.compose(self.loader, self.master, job_overrides)
        compose.check_one_launcher(self.master, requests)
        self._validate(requests, first_index)
        settings = self._settings(requests[0].config)
        self.runner.prepare(settings, len(requests))
        if self._record is None and settings.get("resume") is not None:
            self._move_to(manifest.find(str(settings["resume"]), root=self.directory.parent))
        self.directory.mkdir(parents=True, exist_ok=True)
        with manifest.claim(self.directory), Interrupts() as interrupts:
            if self._record is None:
                self._open(settings)
            tasks = self._plan(requests, first_index)
            try:
                self._run(tasks, interrupts)
            finally:
                self._finish(tasks, interrupts)
        if interrupts:
            raise KeyboardInterrupt
        return self._returns(tasks)

    def _validate(self, requests: list[Request], first_index: int) -> None:
        """A task function that runs in its own worker module may bring its own `validate`."""
        if isinstance(self.transport, transport.PickledTask):
            return
        from rlvr import config

        check = getattr(self.task_function, "validate", config.validate)
        compose.validate(requests, check, first_index)

    def _settings(self, config: DictConfig) -> dict[str, Any]:
        settings: dict[str, Any] = compose.plain(OmegaConf.select(config, "launcher") or {})
        known = self.runner.settings | {"name", "resume"}
        if unknown := sorted(set(settings) - known):
            raise UserError(
                f"launcher.{unknown[0]} is not a setting of the {self.runner.name} launcher; "
                f"its settings are {', '.join(sorted(known - {'name'}))}"
            )
        return settings

    def _move_to(self, directory: Path) -> None:
        """Hydra has made a new sweep directory by now; the sweeper moves to the old one with us."""
        made, self.directory = self.directory, directory
        with read_write(self.master.hydra):
            self.master.hydra.sweep.dir = str(directory)
        if made.is_dir() and [path.name for path in made.iterdir()] == ["multirun.yaml"]:
            (made / "multirun.yaml").unlink()
            made.rmdir()

    def _open(self, settings: dict[str, Any]) -> None:
        """Read the record of the sweep to go on with, or begin a new one."""
        if settings.get("resume") is not None:
            self._reopen()
            return
        if "resume" in settings and (self.directory / manifest.FILE).exists():
            raise UserError(
                f"{self.directory} holds a sweep already: go on with it by "
                f"launcher.resume={self.directory}, or choose another hydra.sweep.dir"
            )
        started = datetime.now(UTC)
        self._record = Manifest(
            sweep_id=f"{started:%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:4]}",
            name=compose.sweep_name(self.loader, self.master),
            created=started.isoformat(timespec="milliseconds"),
            launcher=self.runner.name,
            command=summary.command_line(),
            metric=self.transport.metric,
        )

    def _reopen(self) -> None:
        self._record = manifest.load(self.directory)
        self._earlier = list(self._record.jobs)
        remote = any(job.is_remote() for job in self._earlier)
        if remote and self._record.launcher != self.runner.name:
            raise UserError(
                f"{self.directory} has jobs running on {self._record.launcher}: "
                f"resume it with launcher={self._record.launcher}"
            )

    def _plan(self, requests: list[Request], first_index: int) -> list[Task]:
        """Decide what runs; the manifest and MLflow say so before anything starts."""
        hashes = [
            self.transport.hash(request, request.place(self.directory, first_index + position))
            for position, request in enumerate(requests)
        ]
        earlier = resume.Earlier(self._earlier, self._earlier_result, self.runner.attachable)
        resumed = bool(self._earlier)
        plan = resume.match(self.record, earlier, requests, hashes, first_index)
        for job in plan.changed:
            resume.set_aside(self.directory / job.dir)
        tasks = [self._task(job, r) for job, r in zip(plan.jobs, requests, strict=True)]
        if resumed:
            self.terminal.say(f"Resuming {summary.shown(self.directory)}\n{plan.describe()}")
        self.record.launcher = self.runner.name
        self.record.save(self.directory)
        for run_id, state in plan.ended_runs.items():
            runs.end(self.record, run_id, state)
        runs.create(self.record, {task.job.index: task.request for task in tasks})
        self.record.save(self.directory)
        return tasks

    def _earlier_result(self, job: Job) -> Result | None:
        return self.transport.result(self.directory / job.dir)

    def _task(self, job: Job, request: Request) -> Task:
        directory = request.place(self.directory, job.index)
        job.dir = os.path.relpath(directory, self.directory)
        job.overrides = request.overrides
        directory.mkdir(parents=True, exist_ok=True)
        return Task(job, request, directory)

    def _run(self, tasks: list[Task], interrupts: Interrupts) -> None:
        todo = [task for task in tasks if task.job.state is not State.finished]
        for task in todo:
            if task.job.state is State.pending and not task.job.is_remote():
                self._use_tracking_uri(task.request.config)
                self.transport.write(task.request, task.directory)
        self.terminal.say(f"Sweep of {len(tasks)} jobs in {summary.shown(self.directory)}")
        with self.terminal.watching([(t.job, t.directory) for t in todo], self.record.metric):
            self.runner.run(todo, self, interrupts)

    def _use_tracking_uri(self, config: DictConfig) -> None:
        """The job writes where its run was created, whatever its own defaults would say."""
        if self.record.tracking.uri is not None:
            with read_write(config), open_dict(config):
                config.tracking.uri = self.record.tracking.uri

    def settings(self, task: Task) -> dict[str, Any]:
        """The job's own `launcher` node."""
        return self._settings(task.request.config)

    def command(self, task: Task) -> list[str]:
        return self.transport.command(task.directory)

    def log_file(self, task: Task) -> Path:
        return self.transport.log(task.request, task.directory)

    def environment(self, task: Task) -> dict[str, str]:
        """What the job's process gets on top of its surroundings."""
        added = {"PYTHONPATH": importable_paths(), "PYTHONUNBUFFERED": "1"}
        added.update({str(k): str(v) for k, v in task.request.config.hydra.job.env_set.items()})
        if task.job.run_id is not None:
            added["RLVR_RUN_ID"] = task.job.run_id
        return added

    def result(self, task: Task) -> Result | None:
        """What the job itself left, if anything."""
        return self.transport.result(task.directory)

    def submitted(self, task: Task, remote: dict[str, Any]) -> None:
        """`remote` is what finds the job again; it stays pending until `started`."""
        task.job.remote = remote
        self.record.save(self.directory)

    def started(self, task: Task, pid: int | None = None, pid_started: int | None = None) -> None:
        job = task.job
        job.state, job.started, job.ended = State.running, manifest.now(), None
        job.pid, job.pid_started = pid, pid_started
        self.record.save(self.directory)
        self.terminal.changed(job)

    def ended(self, task: Task, result: Result) -> None:
        job = task.job
        job.state, job.ended = result.status, manifest.now()
        job.pid = job.pid_started = None
        job.value, job.error = result.metric, result.error
        if self.result(task) is None:
            known = replace(result, overrides=job.overrides, run_id=job.run_id)
            self.transport.write_result(task.directory, known)
        self.record.save(self.directory)
        runs.end(self.record, job.run_id, job.state)
        self.terminal.changed(job)

    def _finish(self, tasks: list[Task], interrupts: Interrupts) -> None:
        for task in tasks:
            if task.job.state is State.pending and not task.job.is_remote():
                runs.end(self.record, task.job.run_id, State.killed)
        state = overall([task.job for task in tasks])
        try:
            self._compare()
        finally:
            runs.end(self.record, self.record.tracking.parent_run_id, state)
        if state is not State.finished:
            self._say_unfinished(tasks, interrupted=bool(interrupts))

    def _compare(self) -> None:
        """Nothing that goes wrong in the report may hide the jobs' results."""
        if isinstance(self.transport, transport.PickledTask):
            return
        try:
            from rlvr.compare import compare

            compare.report(self.directory)
        except Exception:
            log.exception("no comparison could be made; try again: rlvr compare %s", self.directory)

    def _say_unfinished(self, tasks: list[Task], *, interrupted: bool) -> None:
        told = (State.failed,) if interrupted else (State.failed, State.killed)
        jobs = [
            (task.job, self.log_file(task), (self.result(task) or Result()).traceback)
            for task in tasks
            if task.job.state in told
        ]
        if jobs:
            self.terminal.say(summary.unfinished(jobs) + "\n")
        self.terminal.say(
            f"{summary.counts([task.job for task in tasks])}. To run what is missing:"
        )
        self.terminal.say("  " + summary.resume_command(summary.command_line(), self.directory))

    def _returns(self, tasks: list[Task]) -> list[JobReturn]:
        failed = [task.job for task in tasks if task.job.state is not State.finished]
        message = summary.failure(self.directory, failed, len(tasks))
        returns = []
        for task in tasks:
            result = self.result(task) or Result(task.job.state, error=task.job.error)
            returned = self.transport.job_return(task.request, task.directory, result)
            if returned.status is not JobStatus.COMPLETED:
                details = result.traceback or result.error
                returned.return_value = transport.JobFailedError(message, details)
            returns.append(returned)
        return returns


def overall(jobs: list[Job]) -> State:
    """The sweep's own state: one failure is a failure, a stop is a stop."""
    states = {job.state for job in jobs}
    if any(job.is_remote() for job in jobs):
        return State.running  # they were left to go on
    if State.failed in states:
        return State.failed
    return State.finished if states == {State.finished} else State.killed


def importable_paths() -> str:
    """What this process can import its jobs can too; the interpreter's own paths they have."""
    own = tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))
    paths = [str(Path(p).absolute()) for p in sys.path if Path(p).is_dir()]
    return os.pathsep.join(dict.fromkeys(p for p in paths if not p.startswith(own)))
