"""Jobs on a Slurm cluster: submitit submits, watches and cancels; the worker in them is ours."""

import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any

from rlvr.errors import UserError
from rlvr.manifest import Job
from rlvr.processes import run_command
from rlvr.result import Result, of_exit
from rlvr.states import State
from rlvr.sweep.controller import Sweep
from rlvr.sweep.runner import Runner
from rlvr.sweep.settings import Settings, bounded

if TYPE_CHECKING:
    import submitit

ASK = 30.0  # seconds between questions to Slurm's accounting
LATE = 20.0  # seconds that a result may take to show up on the shared file system
CANCEL_GRACE = 40.0  # Slurm itself kills 30 s after scancel
COMMANDS = ("sbatch", "srun", "sacct", "scancel")
STARTED = "started"
COMMON = ("nodes", "gpus_per_node", "cpus_per_task", "mem_gb", "timeout_min")
SLURM_ONLY = ("partition", "account", "qos", "setup", "array_parallelism", "additional_parameters")


@dataclass
class SlurmSettings(Settings):
    n_jobs: int | None = bounded(64, 1)
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    nodes: int = bounded(1, 1)
    gpus_per_node: int | None = bounded(1, 0)
    cpus_per_task: int | None = bounded(8, 1)
    mem_gb: float | None = bounded(32, 0)
    timeout_min: int = bounded(300, 1)
    setup: list[str] = field(default_factory=list)
    additional_parameters: dict[str, Any] = field(default_factory=dict)


class SlurmRunner(Runner):
    name = "slurm"
    settings = SlurmSettings
    tick = 0.5  # between looks at the shared file system

    def __init__(self) -> None:
        self._slurm: dict[int, submitit.SlurmJob[int]] = {}  # by the job's index
        self._over_since: dict[int, float] = {}
        self._asked = time.monotonic()
        self._leave_at = inf

    def prepare(self, jobs: Sequence[Job], sweep: Sweep) -> None:
        missing = [command for command in COMMANDS if shutil.which(command) is None]
        if missing:
            raise UserError(
                f"launcher=slurm needs {', '.join(missing)} on the PATH: start the sweep on a "
                "login node of the cluster, or use launcher=local"
            )

    def attachable(self, job: Job) -> bool:
        slurm = self._of(job)
        return not slurm.done(force_check=True) and not State.of_slurm(slurm.state).ended

    def submit(self) -> None:
        for same in _by_resources(self.waiting):
            self._submit(same)
            self.running += same
        self.waiting.clear()

    def _of(self, job: Job) -> "submitit.SlurmJob[int]":
        """The job's first node, which has the result. Made once: a new one makes submitit ask the
        accounting again."""
        import submitit

        if job.index not in self._slurm:
            assert job.remote is not None
            folder, number = job.remote["folder"], job.remote["job_id"]
            self._slurm[job.index] = submitit.SlurmJob(folder=folder, job_id=number)
        return self._slurm[job.index]

    def _submit(self, jobs: list[Job]) -> None:
        import submitit

        folder = self.sweep.directory.absolute() / ".slurm" / "%j"
        executor = submitit.AutoExecutor(folder=folder, cluster="slurm", slurm_max_num_timeout=0)
        executor.update_parameters(**_parameters(self.read(jobs[0]), self.sweep))
        with executor.batch():
            submitted = [executor.submit(run_command, *_arguments(job, self.sweep)) for job in jobs]
        for job, slurm in zip(jobs, submitted, strict=True):
            self.sweep.submitted(job, {"job_id": slurm.job_id, "folder": str(folder)})

    def poll(self, job: Job) -> bool:
        self._ask(job)
        if job.state is State.pending and (job.directory / STARTED).exists():
            self.sweep.started(job)
        left = time.monotonic() > self._leave_at
        if not self._of(job).done():
            if left:
                stopped = Result(State.killed, error="cancelled together with the sweep")
                self.sweep.ended(job, self.sweep.result(job) or stopped)
            return left
        result = self.sweep.result(job)
        if result is None and not self._died(job) and not left:
            since = self._over_since.setdefault(job.index, time.monotonic())
            if time.monotonic() < since + LATE:
                return False
        self.sweep.ended(job, result or self._without_result(job))
        return True

    def _ask(self, job: Job) -> None:
        """Slurm's accounting, which answers for all jobs at once."""
        now = time.monotonic()
        if now > self._asked + (ASK if self._leave_at == inf else self.tick):
            self._of(job).watcher.update()
            self._asked = now

    def _died(self, job: Job) -> bool:
        """No result will come: the worker or the whole job was killed."""
        by_slurm = State.of_slurm(self._of(job).state) in (State.failed, State.killed)
        return by_slurm or (self._exit_code(job) or 0) < 0

    def _exit_code(self, job: Job) -> int | None:
        """The worker's, where submitit's own process lived to see it."""
        slurm = self._of(job)
        if not slurm.paths.result_pickle.exists() or slurm.exception() is not None:
            return None
        return slurm.result()

    def _without_result(self, job: Job) -> Result:
        word, name = self._of(job).state, f"Slurm job {self._of(job).job_id}"
        if word.startswith("CANCELLED"):
            return Result(State.killed, error=f"{name} was cancelled")
        if (code := self._exit_code(job)) is not None:
            return of_exit(job.index, code)
        stderr = self._of(job).paths.stderr
        lines = stderr.read_text(errors="replace").split("\n") if stderr.is_file() else []
        last = next((f" ({line}; see {stderr})" for line in reversed(lines) if line.strip()), "")
        status = State.killed if State.of_slurm(word) is State.killed else State.failed
        return Result(status, error=f"{name} ended as {word} and left no result{last}")

    def cancel(self, requests: int) -> bool:
        """scancel sends SIGTERM, then SIGKILL; a second request waits for nothing."""
        if requests > 1:
            self._leave_at = 0.0
            return True
        self.sweep.terminal.say(
            f"cancelling {len(self.running)} Slurm jobs (again to leave at once)"
        )
        subprocess.run(["scancel", *(self._of(job).job_id for job in self.running)], check=False)
        self._leave_at = time.monotonic() + CANCEL_GRACE
        return True


def _by_resources(jobs: list[Job]) -> list[list[Job]]:
    """One array per set of resources; a sweep over launcher.gpus_per_node has several."""
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(str(job.config.get("launcher")), []).append(job)
    return list(groups.values())


def _parameters(settings: Settings, sweep: Sweep) -> dict[str, Any]:
    """Names as submitit has them: what only Slurm knows starts with slurm_."""
    given = asdict(settings)
    given["array_parallelism"] = given["n_jobs"]
    named = {f"slurm_{key}": given[key] for key in SLURM_ONLY}
    named.update({key: given[key] for key in COMMON})
    named["name"] = f"rlvr-{sweep.record.sweep_id}"
    return {key: value for key, value in named.items() if value}


def _arguments(job: Job, sweep: Sweep) -> tuple[list[str], dict[str, str], str, str]:
    started = job.directory.absolute() / STARTED
    started.unlink(missing_ok=True)
    log = str(sweep.log_file(job).absolute())
    return sweep.command(job), sweep.environment(job), log, str(started)
