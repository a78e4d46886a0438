"""Jobs on a Slurm cluster: submitit submits, watches and cancels; the worker in them is ours."""

import shutil
import subprocess
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rlvr.errors import UserError
from rlvr.manifest import Job
from rlvr.processes import run_command
from rlvr.result import Result, of_exit
from rlvr.states import State
from rlvr.sweep.controller import Sweep
from rlvr.sweep.interrupts import Interrupts

if TYPE_CHECKING:
    import submitit

POLL = 0.5  # seconds between looks at the shared file system
ASK = 30.0  # seconds between questions to Slurm's accounting
LATE = 20.0  # seconds that a result may take to show up on the shared file system
CANCEL_GRACE = 40.0  # Slurm itself kills 30 s after scancel
COMMANDS = ("sbatch", "srun", "sacct", "scancel")
STARTED = "started"
COMMON = ("nodes", "gpus_per_node", "cpus_per_task", "mem_gb", "timeout_min")
SLURM_ONLY = ("partition", "account", "qos", "setup", "array_parallelism", "additional_parameters")


class SlurmRunner:
    name = "slurm"
    settings = frozenset(
        "n_jobs partition account qos nodes gpus_per_node cpus_per_task mem_gb timeout_min setup "
        "additional_parameters".split()
    )

    def __init__(self) -> None:
        self._slurm: dict[int, submitit.SlurmJob[int]] = {}  # by the job's index
        self._over_since: dict[int, float] = {}

    def prepare(self, settings: dict[str, Any], jobs: Sequence[Job], sweep: Sweep) -> None:
        missing = [command for command in COMMANDS if shutil.which(command) is None]
        if missing:
            raise UserError(
                f"launcher=slurm needs {', '.join(missing)} on the PATH: start the sweep on a "
                "login node of the cluster, or use launcher=local"
            )

    def attachable(self, job: Job) -> bool:
        slurm = self._of(job)
        return not slurm.done(force_check=True) and not State.of_slurm(slurm.state).ended

    def run(self, jobs: Sequence[Job], sweep: Sweep, interrupts: Interrupts) -> None:
        if not interrupts:
            for same in _by_resources([job for job in jobs if not job.is_remote()]):
                self._submit(same, sweep)
        running = [job for job in jobs if job.is_remote()]
        asked = time.monotonic()
        while running and not interrupts:
            time.sleep(POLL)
            if time.monotonic() > asked + ASK:
                self._of(running[0]).watcher.update()
                asked = time.monotonic()
            running = [job for job in running if not self._over(job, sweep)]
        if running:
            self._cancel(running, sweep, interrupts)

    def _of(self, job: Job) -> "submitit.SlurmJob[int]":
        """The job's first node, which has the result. Made once: a new one makes submitit ask the
        accounting again."""
        import submitit

        if job.index not in self._slurm:
            assert job.remote is not None
            folder, number = job.remote["folder"], job.remote["job_id"]
            self._slurm[job.index] = submitit.SlurmJob(folder=folder, job_id=number)
        return self._slurm[job.index]

    def _submit(self, jobs: list[Job], sweep: Sweep) -> None:
        import submitit

        folder = sweep.directory.absolute() / ".slurm" / "%j"
        executor = submitit.AutoExecutor(folder=folder, cluster="slurm", slurm_max_num_timeout=0)
        executor.update_parameters(**_parameters(jobs[0], sweep))
        with executor.batch():
            submitted = [executor.submit(run_command, *_arguments(job, sweep)) for job in jobs]
        for job, slurm in zip(jobs, submitted, strict=True):
            sweep.submitted(job, {"job_id": slurm.job_id, "folder": str(folder)})

    def _over(self, job: Job, sweep: Sweep) -> bool:
        """Record what has changed; true once the job is over and its result has been taken."""
        if job.state is State.pending and (job.directory / STARTED).exists():
            sweep.started(job)
        if not self._of(job).done():
            return False
        result = sweep.result(job)
        if result is None and not self._died(job):
            since = self._over_since.setdefault(job.index, time.monotonic())
            if time.monotonic() < since + LATE:
                return False
        sweep.ended(job, result or self._without_result(job))
        return True

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

    def _cancel(self, running: list[Job], sweep: Sweep, interrupts: Interrupts) -> None:
        """scancel sends SIGTERM, then SIGKILL; a second request waits for nothing."""
        sweep.terminal.say(f"cancelling {len(running)} Slurm jobs (again to leave at once)")
        subprocess.run(["scancel", *(self._of(job).job_id for job in running)], check=False)
        deadline = time.monotonic() + CANCEL_GRACE
        while running and time.monotonic() < deadline and not interrupts.insistent:
            time.sleep(POLL)
            self._of(running[0]).watcher.update()
            running = [job for job in running if not self._over(job, sweep)]
        for job in running:
            stopped = Result(State.killed, error="cancelled together with the sweep")
            sweep.ended(job, sweep.result(job) or stopped)


def _by_resources(jobs: list[Job]) -> list[list[Job]]:
    """One array per set of resources; a sweep over launcher.gpus_per_node has several."""
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(str(job.config.get("launcher")), []).append(job)
    return list(groups.values())


def _parameters(job: Job, sweep: Sweep) -> dict[str, Any]:
    """Names as submitit has them: what only Slurm knows starts with slurm_."""
    given = sweep.settings(job)
    given["array_parallelism"] = given.get("n_jobs")
    named = {f"slurm_{key}": given.get(key) for key in SLURM_ONLY}
    named.update({key: given.get(key) for key in COMMON})
    named["name"] = f"rlvr-{sweep.record.sweep_id}"
    return {key: value for key, value in named.items() if value}


def _arguments(job: Job, sweep: Sweep) -> tuple[list[str], dict[str, str], str, str]:
    started = job.directory.absolute() / STARTED
    started.unlink(missing_ok=True)
    log = str(sweep.log_file(job).absolute())
    return sweep.command(job), sweep.environment(job), log, str(started)
