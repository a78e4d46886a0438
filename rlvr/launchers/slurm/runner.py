"""The controller's side: arrays are written down, submitted, watched and cancelled."""

import shutil
import time
import uuid
from collections.abc import Iterable, Sequence
from math import inf
from pathlib import Path
from typing import Any

from rlvr.errors import UserError
from rlvr.launchers.slurm import scheduler
from rlvr.launchers.slurm.array import complete, submit
from rlvr.launchers.slurm.node import Task, exit_code, file
from rlvr.launchers.slurm.scheduler import Seen
from rlvr.launchers.slurm.settings import SlurmSettings
from rlvr.manifest import Job
from rlvr.result import Result, of_exit
from rlvr.states import State
from rlvr.sweep.controller import Sweep
from rlvr.sweep.runner import Runner

LATE = 20.0  # seconds that a result may take to show up on the shared file system
FORGOTTEN = 20  # answers without a job, one every `launcher.poll_seconds`, until it counts as lost
CANCEL_GRACE = 40.0  # Slurm itself kills 30 s after scancel
CANCELLING = 1.0  # seconds between answers then


class SlurmRunner(Runner):
    name = "slurm"
    settings = SlurmSettings
    tick = 0.5  # between looks at the shared file system

    def __init__(self) -> None:
        # by the job's index
        self._seen: dict[int, Seen] = {}
        self._absent: dict[int, int] = {}
        self._over_since: dict[int, float] = {}
        self._earlier: dict[str, dict[scheduler.Task, Seen]] = {}  # by submission
        self._ask_at = 0.0
        self._leave_at = inf

    def prepare(self, jobs: Sequence[Job], sweep: Sweep) -> None:
        missing = [command for command in scheduler.COMMANDS if shutil.which(command) is None]
        if missing:
            raise UserError(
                f"launcher=slurm needs {', '.join(missing)} on the PATH: start the sweep on a "
                "login node of the cluster, or use launcher=local"
            )
        for job in jobs:
            self._settings(job)
        self.sweep = sweep

    def attachable(self, job: Job) -> bool:
        if _exit_code(job) is not None:
            return False
        name = _remote(job)["name"]
        if name not in self._earlier:
            self._earlier[name] = self._whereabouts([name])
        seen = self._earlier[name].get(_task(job))
        if seen is None or seen.ended:
            return False
        _remote(job)["job_id"] = seen.job_id
        complete(_folder(job), seen.job_id)
        return True

    def _whereabouts(self, names: list[str]) -> dict[scheduler.Task, Seen]:
        queued = scheduler.queued(names)
        if queued is None:
            raise UserError(
                "Slurm does not answer (squeue), so that nobody knows which jobs of the sweep "
                "still run: resume it when it does. Nothing was started."
            )
        return {**scheduler.accounted(names, self.sweep.record.created), **queued}

    def submit(self) -> None:
        """One array a round, so that Ctrl-C keeps the others from being submitted."""
        if not self.waiting:
            return
        resources = self.waiting[0].config.get("launcher")
        same = [job for job in self.waiting if job.config.get("launcher") == resources]
        self.waiting = [job for job in self.waiting if job not in same]
        try:
            self._submit(same)
        except OSError as error:
            raise UserError(
                f"the sweep cannot go on submitting: {error}. Mend that, then resume it: what "
                "Slurm has by then is found again"
            ) from error

    def _submit(self, jobs: list[Job]) -> None:
        name = f"rlvr-{self.sweep.record.sweep_id}-{uuid.uuid4().hex[:8]}"
        folder = self.sweep.directory.absolute() / ".slurm" / name
        settings = self._settings(jobs[0])
        tasks = self._record(jobs, name, folder, settings)
        numbers, said = submit(folder, name, settings, len(jobs))
        if not numbers:  # the answer may be lost, but not the array
            found = scheduler.queued([name])
            if found is not None and not found:
                self._refuse(jobs, tasks, said)
                return
        for job, number in zip(jobs, numbers, strict=False):
            _remote(job)["job_id"] = number  # else the next answers say it
        self.sweep.save()
        self.running += jobs
        self._ask_at = 0.0

    def _record(
        self, jobs: list[Job], name: str, folder: Path, settings: SlurmSettings
    ) -> list[Task]:
        """All that finds the array again and that its tasks need, before Slurm hears of it."""
        folder.mkdir(parents=True)
        tasks = []
        for number, job in enumerate(jobs):
            tasks.append(self._task(job, name, settings))
            tasks[-1].leave(folder, number)
            job.remote = {"name": name, "task": number, "job_id": None, "folder": str(folder)}
        self.sweep.save()
        return tasks

    def _task(self, job: Job, name: str, settings: SlurmSettings) -> Task:
        return Task(
            submission=name,
            command=self.sweep.command(job),
            environment=self.sweep.environment(job),
            directory=str(job.directory.absolute()),
            log=str(self.sweep.log_file(job).absolute()),
            timeout_min=settings.timeout_min,
            signal_delay_s=settings.signal_delay_s,
            requeues=settings.requeues,
        )

    def _refuse(self, jobs: list[Job], tasks: list[Task], said: str) -> None:
        """An array that comes after all finds that nobody wants it."""
        for task, job in zip(tasks, jobs, strict=True):
            task.withdraw()
            job.remote = None
            self.sweep.ended(job, Result(State.failed, error=f"sbatch refused the job: {said}"))

    def _settings(self, job: Job) -> SlurmSettings:
        settings = self.read(job)
        assert isinstance(settings, SlurmSettings)
        return settings

    def poll(self, job: Job) -> bool:
        self._ask()
        if job.state is State.pending and self._runs(job):
            self.sweep.started(job)
        over = self._is_over(job)
        left = time.monotonic() > self._leave_at
        if not (over or left):
            return False
        result = self.sweep.result(job)
        if over and not left and result is None and not self._died(job):
            since = self._over_since.setdefault(job.index, time.monotonic())
            if time.monotonic() < since + LATE:
                return False
        self.sweep.ended(job, result or self._without_result(job, over))
        return True

    def _ask(self) -> None:
        """Slurm answers for all jobs at once; where it does not, nothing is known and none ends."""
        if time.monotonic() < self._ask_at:
            return
        queued = scheduler.queued(_names(self.running))
        if queued is not None:
            dropped = [job for job in self.running if _task(job) not in queued]
            known = {**self._ends(dropped), **queued}
            for job in self.running:
                self._learn(job, known.get(_task(job)))
        pause = self._settings(self.running[0]).poll_seconds
        if self._leave_at < inf:
            pause = min(pause, CANCELLING)
        self._ask_at = time.monotonic() + pause

    def _ends(self, dropped: list[Job]) -> dict[scheduler.Task, Seen]:
        """A job that the accounting has as running, and the scheduler has not, is not running."""
        if not dropped:
            return {}
        accounted = scheduler.accounted(_names(dropped), self.sweep.record.created)
        return {task: seen for task, seen in accounted.items() if seen.ended}

    def _learn(self, job: Job, seen: Seen | None) -> None:
        if seen is None:
            self._absent[job.index] = self._absent.get(job.index, 0) + 1
            return
        self._absent[job.index] = 0
        self._seen[job.index] = seen
        if _remote(job)["job_id"] is None:  # nobody heard sbatch's answer
            _remote(job)["job_id"] = seen.job_id
            complete(_folder(job), seen.job_id)
        if seen.state is State.pending and job.state is State.running:
            file(_folder(job), _remote(job)["task"], "started").unlink(missing_ok=True)
            job.state = State.pending
            self.sweep.save()
            self.sweep.terminal.say(f"{job.label} was queued again: it goes on where it was")

    def _runs(self, job: Job) -> bool:
        seen = self._seen.get(job.index)
        by_file = file(_folder(job), _remote(job)["task"], "started").exists()
        return by_file or (seen is not None and seen.state is State.running)

    def _is_over(self, job: Job) -> bool:
        if _exit_code(job) is not None:
            return True
        absent = self._absent.get(job.index, 0)
        if absent:
            result = self.sweep.result(job)
            done = result is not None and result.status.complete
            return done or absent > FORGOTTEN
        seen = self._seen.get(job.index)
        return seen is not None and seen.ended

    def _died(self, job: Job) -> bool:
        """No result will come: the worker or the job was killed, or Slurm has forgotten it."""
        seen = self._seen.get(job.index)
        by_slurm = seen is not None and seen.state in (State.failed, State.killed)
        return by_slurm or self._is_forgotten(job) or (_exit_code(job) or 0) < 0

    def _is_forgotten(self, job: Job) -> bool:
        return self._absent.get(job.index, 0) > FORGOTTEN

    def _without_result(self, job: Job, over: bool) -> Result:
        if not over:
            return Result(State.killed, error="cancelled together with the sweep")
        name = f"Slurm job {_remote(job)['job_id']}"
        if (code := _exit_code(job)) is not None:
            return of_exit(job.index, code)
        if self._is_forgotten(job):
            return Result(State.lost, error=f"Slurm has no {name.removeprefix('Slurm ')} any more")
        seen = self._seen[job.index]
        status = State.killed if seen.state is State.killed else State.failed
        return Result(status, error=f"{name} ended as {seen.word}{_last_words(job)}")

    def cancel(self, requests: int) -> bool:
        """scancel sends SIGTERM, then SIGKILL; a second request waits for nothing."""
        say = self.sweep.terminal.say
        if requests == 1:
            say(f"cancelling {len(self.running)} Slurm jobs (again to leave at once)")
        if refusal := scheduler.cancel(_names(self.running)):
            say(
                f"Slurm did not cancel them: {refusal}. They go on, and a resumed sweep waits for "
                "them"
            )
            return requests == 1
        self._leave_at = 0.0 if requests > 1 else time.monotonic() + CANCEL_GRACE
        self._ask_at = 0.0
        return True

    def abandon(self) -> None:
        if self.running:
            self.sweep.terminal.say(f"{len(self.running)} Slurm jobs go on without this process")


def _remote(job: Job) -> dict[str, Any]:
    """What the record has of a submitted job."""
    assert job.remote is not None
    return job.remote


def _task(job: Job) -> scheduler.Task:
    remote = _remote(job)
    return remote["name"], remote["task"]


def _folder(job: Job) -> Path:
    return Path(_remote(job)["folder"])


def _names(jobs: Iterable[Job]) -> set[str]:
    return {_remote(job)["name"] for job in jobs}


def _exit_code(job: Job) -> int | None:
    return exit_code(_folder(job), _remote(job)["task"])


def _last_words(job: Job) -> str:
    """The end of what Slurm wrote, such as `slurmstepd: error: Detected 1 oom_kill event`."""
    log = _folder(job) / f"{_remote(job)['job_id']}_0_log.out"
    lines = log.read_text(errors="replace").split("\n") if log.is_file() else []
    last = next((line for line in reversed(lines) if line.strip()), "")
    return f" ({last}; see {log})" if last else ""
