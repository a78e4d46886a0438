"""Jobs as processes: so many at a time, each on its own GPUs, none outliving the controller."""

import os
import shutil
import signal
import subprocess
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, TypeAlias

from rlvr.errors import UserError
from rlvr.manifest import Job
from rlvr.processes import GRACE, PARENT, end_group, signal_group, start_time
from rlvr.result import Result, of_exit
from rlvr.states import State
from rlvr.sweep.controller import Sweep
from rlvr.sweep.interrupts import Interrupts

POLL = 0.1  # seconds
# The jobs that run and their processes, by slot: a slot has its own GPUs.
Running: TypeAlias = dict[int, tuple[Job, "subprocess.Popen[bytes]"]]


class LocalRunner:
    name = "local"
    settings = frozenset({"n_jobs", "gpus_per_job"})

    def prepare(self, settings: dict[str, Any], jobs: Sequence[Job], sweep: Sweep) -> None:
        gpus = visible_gpus()
        per_job = positive(settings, "gpus_per_job") or 1
        if gpus and per_job > len(gpus):
            raise UserError(f"launcher.gpus_per_job={per_job}: this machine shows {len(gpus)} GPUs")
        self.groups = [gpus[i : i + per_job] for i in range(0, len(gpus) - per_job + 1, per_job)]
        self.n_jobs = min(len(jobs), positive(settings, "n_jobs") or len(self.groups) or 1)

    def attachable(self, job: Job) -> bool:
        return False

    def run(self, jobs: Sequence[Job], sweep: Sweep, interrupts: Interrupts) -> None:
        waiting = deque(jobs)
        running: Running = {}
        try:
            while (waiting or running) and not interrupts:
                if waiting and len(running) < self.n_jobs:
                    self._start(waiting.popleft(), running, sweep)
                else:
                    time.sleep(POLL)
                collect(running, sweep)
            if running:
                end(running, sweep, interrupts)
        except BaseException:  # whatever goes wrong here, no job is left behind
            kill(running, sweep)
            raise

    def _start(self, job: Job, running: Running, sweep: Sweep) -> None:
        slot = min(set(range(self.n_jobs)) - set(running))
        with sweep.log_file(job).open("ab") as output:
            process = subprocess.Popen(
                sweep.command(job),
                env={**os.environ, **self.devices(slot), **sweep.environment(job)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        running[slot] = (job, process)
        sweep.started(job, pid=process.pid, pid_started=start_time(process.pid))

    def devices(self, slot: int) -> dict[str, str]:
        """A job's own GPUs, or its share of the processor cores."""
        own = {PARENT: str(os.getpid())}
        if self.groups:
            return {**own, "CUDA_VISIBLE_DEVICES": ",".join(self.groups[slot % len(self.groups)])}
        share = max(1, len(os.sched_getaffinity(0)) // self.n_jobs)
        return {**own, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(share))}


def positive(settings: dict[str, Any], key: str) -> int | None:
    value = settings.get(key)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise UserError(f"launcher.{key}={value}: must be a whole number of at least 1, or null")


def visible_gpus() -> list[str]:
    """Ids as CUDA_VISIBLE_DEVICES takes them. Asks the driver: importing torch takes seconds."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [gpu.strip() for gpu in chosen.split(",") if gpu.strip() not in ("", "-1")]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    lines = [line for line in listed.stdout.splitlines() if line.startswith("GPU ")]
    return [str(number) for number in range(len(lines))]


def collect(running: Running, sweep: Sweep, *, stopped: bool = False) -> None:
    """Take the processes that have ended out of `running` and record how they ended."""
    for slot, (job, process) in list(running.items()):
        if process.poll() is None:
            continue
        del running[slot]
        end_group(process.pid)
        result = sweep.result(job)
        if result is None and stopped:
            result = Result(State.killed, error="stopped together with the sweep")
        sweep.ended(job, result or of_exit(job.index, process.returncode))


def end(running: Running, sweep: Sweep, interrupts: Interrupts) -> None:
    """SIGTERM, and SIGKILL for what is left after the grace time or at the second request."""
    sweep.terminal.say(f"stopping {len(running)} jobs (again to kill them at once)")
    for _, process in running.values():
        signal_group(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    while running and time.monotonic() < deadline and not interrupts.insistent:
        time.sleep(POLL)
        collect(running, sweep, stopped=True)
    kill(running, sweep)


def kill(running: Running, sweep: Sweep) -> None:
    for _, process in running.values():
        signal_group(process.pid, signal.SIGKILL)
        process.wait()
    collect(running, sweep, stopped=True)
