"""Jobs on a Slurm cluster: submitit submits, watches and cancels; the worker in them is ours."""

import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr.errors import UserError
from rlvr.manifest import Job
from rlvr.processes import run_command
from rlvr.result import Result, of_exit
from rlvr.states import State
from rlvr.sweep.controller import Sweep, Task
from rlvr.sweep.interrupts import Interrupts

if TYPE_CHECKING:
    import submitit

POLL = 0.5  # seconds between looks at the shared file system
ASK = 30.0  # seconds between questions to Slurm's accounting
LATE = 20.0  # seconds that a result may take to show up on the shared file system
CANCEL_GRACE = 40.0  # Slurm itself kills 30 s after scancel
COMMANDS = ("sbatch", "srun", "sacct", "scancel")
STARTED = "started"
COMMON = ("gpus_per_node", "cpus_per_task", "mem_gb", "timeout_min")
SLURM_ONLY = ("partition", "account", "qos", "setup", "array_parallelism", "additional_parameters")


@dataclass
class Submitted:
    task: Task
    slurm: "submitit.SlurmJob[int]"
    over_since: float | None = None


class SlurmRunner:
    name = "slurm"
    settings = frozenset(
        "n_jobs partition account qos nodes gpus_per_node cpus_per_task mem_gb timeout_min setup "
        "additional_parameters".split()
    )

    def prepare(self, settings: dict[str, Any], tasks: int) -> None:
        missing = [command for command in COMMANDS if shutil.which(command) is None]
        if missing:
            raise UserError(
                f"launcher=slurm needs {', '.join(missing)} on the PATH: start the sweep on a "
                "login node of the cluster, or use launcher=local"
            )
        if settings.get("nodes", 1) != 1:
            raise UserError(f"launcher.nodes={settings['nodes']}: one run uses one node, set 1")

    def attachable(self, job: Job) -> bool:
        slurm = _slurm_job(job)
        return not slurm.done(force_check=True) and not State.of_slurm(slurm.state).ended

    def run(self, tasks: Sequence[Task], sweep: Sweep, interrupts: Interrupts) -> None:
        running = [Submitted(t, _slurm_job(t.job)) for t in tasks if t.job.is_remote()]
        if not interrupts:
            running += _submit([t for t in tasks if not t.job.is_remote()], sweep)
        asked = time.monotonic()
        while running and not interrupts:
            time.sleep(POLL)
            if time.monotonic() > asked + ASK:
                running[0].slurm.watcher.update()
                asked = time.monotonic()
            running = [entry for entry in running if not _over(entry, sweep)]
        if running:
            _cancel(running, sweep, interrupts)


def _slurm_job(job: Job) -> "submitit.SlurmJob[int]":
    import submitit

    assert job.remote is not None
    return submitit.SlurmJob(folder=job.remote["folder"], job_id=job.remote["job_id"])


def _submit(tasks: list[Task], sweep: Sweep) -> list[Submitted]:
    """One array per set of resources; a sweep over launcher.gpus_per_node has several."""
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        groups.setdefault(str(task.request.config.get("launcher")), []).append(task)
    return [entry for group in groups.values() for entry in _submit_array(group, sweep)]


def _submit_array(tasks: list[Task], sweep: Sweep) -> list[Submitted]:
    import submitit

    folder = sweep.directory.absolute() / ".slurm" / "%j"
    executor = submitit.AutoExecutor(folder=folder, cluster="slurm", slurm_max_num_timeout=0)
    executor.update_parameters(**_parameters(tasks[0], sweep))
    with executor.batch():
        jobs = [executor.submit(run_command, *_arguments(task, sweep)) for task in tasks]
    for task, job in zip(tasks, jobs, strict=True):
        sweep.submitted(task, {"job_id": job.job_id, "folder": str(folder)})
    return [Submitted(task, job) for task, job in zip(tasks, jobs, strict=True)]


def _parameters(task: Task, sweep: Sweep) -> dict[str, Any]:
    """Names as submitit has them: what only Slurm knows starts with slurm_."""
    given = sweep.settings(task)
    given["array_parallelism"] = given.get("n_jobs")
    named = {f"slurm_{key}": given.get(key) for key in SLURM_ONLY}
    named.update({key: given.get(key) for key in COMMON})
    named["name"] = f"rlvr-{sweep.record.sweep_id}"
    return {key: value for key, value in named.items() if value}


def _arguments(task: Task, sweep: Sweep) -> tuple[list[str], dict[str, str], str, str]:
    started = task.directory.absolute() / STARTED
    started.unlink(missing_ok=True)
    log = str(sweep.log_file(task).absolute())
    return sweep.command(task), sweep.environment(task), log, str(started)


def _over(entry: Submitted, sweep: Sweep) -> bool:
    """Record what has changed; true once the job is over and its result has been taken."""
    if entry.task.job.state is State.pending and (entry.task.directory / STARTED).exists():
        sweep.started(entry.task)
    if not entry.slurm.done():
        return False
    result = sweep.result(entry.task)
    if result is None and not _died(entry):
        entry.over_since = entry.over_since or time.monotonic()
        if time.monotonic() < entry.over_since + LATE:
            return False
    sweep.ended(entry.task, result or _without_result(entry))
    return True


def _died(entry: Submitted) -> bool:
    """No result will come: the worker or the whole job was killed."""
    by_slurm = State.of_slurm(entry.slurm.state) in (State.failed, State.killed)
    return by_slurm or (_exit_code(entry) or 0) < 0


def _exit_code(entry: Submitted) -> int | None:
    """The worker's, where submitit's own process lived to see it."""
    if not entry.slurm.paths.result_pickle.exists() or entry.slurm.exception() is not None:
        return None
    return entry.slurm.result()


def _without_result(entry: Submitted) -> Result:
    state, name = entry.slurm.state, f"Slurm job {entry.slurm.job_id}"
    if state.startswith("CANCELLED"):
        return Result(State.killed, error=f"{name} was cancelled")
    if (code := _exit_code(entry)) is not None:
        return of_exit(entry.task.job.index, code)
    where = _last_words(entry.slurm.paths.stderr)
    status = State.killed if State.of_slurm(state) is State.killed else State.failed
    return Result(status, error=f"{name} ended as {state} and left no result{where}")


def _last_words(stderr: Path) -> str:
    lines = stderr.read_text(errors="replace").strip().splitlines() if stderr.is_file() else []
    return f" ({lines[-1]}; see {stderr})" if lines else ""


def _cancel(running: list[Submitted], sweep: Sweep, interrupts: Interrupts) -> None:
    """scancel sends SIGTERM, then SIGKILL; a second request does not wait for what jobs write."""
    sweep.terminal.say(f"cancelling {len(running)} Slurm jobs (again to leave at once)")
    subprocess.run(["scancel", *(entry.slurm.job_id for entry in running)], check=False)
    deadline = time.monotonic() + CANCEL_GRACE
    while running and time.monotonic() < deadline and not interrupts.insistent:
        time.sleep(POLL)
        running[0].slurm.watcher.update()
        running = [entry for entry in running if not _over(entry, sweep)]
    for entry in running:
        stopped = Result(State.killed, error="cancelled together with the sweep")
        sweep.ended(entry.task, sweep.result(entry.task) or stopped)
