"""Jobs as processes: so many at a time, each on its own GPUs, none outliving the controller."""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from rlvr.errors import UserError
from rlvr.machine import visible_gpus
from rlvr.manifest import Job
from rlvr.processes import GRACE, PARENT, end_group, signal_group, start_time
from rlvr.result import Result, of_exit
from rlvr.states import State
from rlvr.sweep.controller import Sweep
from rlvr.sweep.runner import Runner
from rlvr.sweep.settings import Settings, bounded


@dataclass
class LocalSettings(Settings):
    gpus_per_job: int | None = bounded(None, 1)


class LocalRunner(Runner):
    """Each running job has a slot, and a slot its own GPUs."""

    name = "local"
    settings = LocalSettings

    def __init__(self) -> None:
        # by the job's index: its slot and its process
        self._processes: dict[int, tuple[int, subprocess.Popen[bytes]]] = {}
        self._kill_at = inf

    def prepare(self, jobs: Sequence[Job], sweep: Sweep) -> None:
        settings, gpus = self.read(jobs[0]), visible_gpus()
        assert isinstance(settings, LocalSettings)
        per_job = settings.gpus_per_job or 1
        if gpus and per_job > len(gpus):
            raise UserError(f"launcher.gpus_per_job={per_job}: this machine shows {len(gpus)} GPUs")
        self.groups = [gpus[i : i + per_job] for i in range(0, len(gpus) - per_job + 1, per_job)]
        self.n_jobs = min(len(jobs), settings.n_jobs or len(self.groups) or 1)

    def submit(self) -> None:
        while self.waiting and len(self.running) < self.n_jobs:
            self.running.append(self.waiting.pop(0))
            self._start(self.running[-1])

    def _start(self, job: Job) -> None:
        slot = min(set(range(self.n_jobs)) - {slot for slot, _ in self._processes.values()})
        with self.sweep.log_file(job).open("ab") as output:
            process = subprocess.Popen(
                self.sweep.command(job),
                env={**os.environ, **self.devices(slot), **self.sweep.environment(job)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes[job.index] = (slot, process)
        self.sweep.started(job, pid=process.pid, pid_started=start_time(process.pid))

    def devices(self, slot: int) -> dict[str, str]:
        """A job's own GPUs, or its share of the processor cores."""
        own = {PARENT: str(os.getpid())}
        if self.groups:
            return {**own, "CUDA_VISIBLE_DEVICES": ",".join(self.groups[slot % len(self.groups)])}
        share = max(1, len(os.sched_getaffinity(0)) // self.n_jobs)
        return {**own, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(share))}

    def poll(self, job: Job) -> bool:
        _, process = self._processes[job.index]
        if time.monotonic() > self._kill_at:
            signal_group(process.pid, signal.SIGKILL)
            process.wait()
        if process.poll() is None:
            return False
        del self._processes[job.index]
        end_group(process.pid)
        result = self.sweep.result(job)
        if result is None and self._kill_at < inf:
            result = Result(State.killed, error="stopped together with the sweep")
        self.sweep.ended(job, result or of_exit(job.index, process.returncode))
        return True

    def cancel(self, requests: int) -> bool:
        """SIGTERM, and SIGKILL for what is left after the grace time or at the second request."""
        if requests > 1:
            self._kill_at = 0.0
            return True
        self.sweep.terminal.say(f"stopping {len(self.running)} jobs (again to kill them at once)")
        for _, process in self._processes.values():
            signal_group(process.pid, signal.SIGTERM)
        self._kill_at = time.monotonic() + GRACE
        return True

    def abandon(self) -> None:
        """Whatever goes wrong here, no job is left behind."""
        self._kill_at = 0.0
        for job in self.running:
            if job.index in self._processes:
                self.poll(job)
