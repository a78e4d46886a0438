"""Jobs as processes: so many at a time, each on its own GPUs, none outliving the controller."""

import os
import shutil
import signal
import subprocess
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rlvr.errors import UserError
from rlvr.manifest import Job
from rlvr.processes import (
    GRACE,
    PARENT,
    end_group,
    signal_group,
    start_time,
)
from rlvr.result import Result, of_exit
from rlvr.states import State
from rlvr.sweep.controller import Sweep, Task
from rlvr.sweep.interrupts import Interrupts

POLL = 0.1  # seconds


@dataclass
class Running:
    task: Task
    process: subprocess.Popen[bytes]
    slot: int


class LocalRunner:
    name = "local"
    settings = frozenset({"n_jobs", "gpus_per_job"})

    def prepare(self, settings: dict[str, Any], tasks: int) -> None:
        gpus = visible_gpus()
        per_job = positive(settings, "gpus_per_job") or 1
        if gpus and per_job > len(gpus):
            raise UserError(f"launcher.gpus_per_job={per_job}: this machine shows {len(gpus)} GPUs")
        self.groups = [gpus[i : i + per_job] for i in range(0, len(gpus) - per_job + 1, per_job)]
        self.n_jobs = min(tasks, positive(settings, "n_jobs") or len(self.groups) or 1)

    def attachable(self, job: Job) -> bool:
        return False

    def run(self, tasks: Sequence[Task], sweep: Sweep, interrupts: Interrupts) -> None:
        waiting = deque(tasks)
        running: list[Running] = []
        with ended_on_error(running, sweep):
            while (waiting or running) and not interrupts:
                if waiting and len(running) < self.n_jobs:
                    self._start(waiting.popleft(), running, sweep)
                else:
                    time.sleep(POLL)
                collect(running, sweep)
            if running:
                end(running, sweep, interrupts)

    def _start(self, task: Task, running: list[Running], sweep: Sweep) -> None:
        slot = min(set(range(self.n_jobs)) - {r.slot for r in running})
        with sweep.log_file(task).open("ab") as output:
            process = subprocess.Popen(
                sweep.command(task),
                env={**os.environ, **self._devices(slot), **sweep.environment(task)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        running.append(Running(task, process, slot))
        sweep.started(task, pid=process.pid, pid_started=start_time(process.pid))

    def _devices(self, slot: int) -> dict[str, str]:
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


def collect(running: list[Running], sweep: Sweep, *, stopped: bool = False) -> None:
    """Take the processes that have ended out of `running` and record how they ended."""
    for entry in [r for r in running if r.process.poll() is not None]:
        running.remove(entry)
        end_group(entry.process.pid)
        left = sweep.result(entry.task)
        if left is None and stopped:
            left = Result(State.killed, error="stopped together with the sweep")
        sweep.ended(entry.task, left or of_exit(entry.task.job.index, entry.process.returncode))


def end(running: list[Running], sweep: Sweep, interrupts: Interrupts) -> None:
    """SIGTERM, and SIGKILL for what is left after the grace time or at the second request."""
    sweep.terminal.say(f"stopping {len(running)} jobs (again to kill them at once)")
    for entry in running:
        signal_group(entry.process.pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    while running and time.monotonic() < deadline and not interrupts.insistent:
        time.sleep(POLL)
        collect(running, sweep, stopped=True)
    kill(running, sweep)


def kill(running: list[Running], sweep: Sweep) -> None:
    for entry in running:
        signal_group(entry.process.pid, signal.SIGKILL)
        entry.process.wait()
    collect(running, sweep, stopped=True)


@contextmanager
def ended_on_error(running: list[Running], sweep: Sweep) -> Iterator[None]:
    """Whatever goes wrong in the controller, no job is left behind."""
    try:
        yield
    except BaseException:
        kill(running, sweep)
        raise
