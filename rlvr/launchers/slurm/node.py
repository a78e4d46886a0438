"""In a Slurm job, once a node: submitit calls `start`, which runs the worker of a job, lets it save
when the time is nearly up, and has Slurm queue the job again.

SIGUSR2 comes before the time limit, and before a pre-emption where the site sends it. SIGTERM comes
with scancel, at the time limit, with a pre-emption, and before one that has a grace time: a job
that ends within that is not queued again unless it asks. Of these Slurm calls only the last RUNNING
still.
"""

import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

from rlvr.launchers.slurm import scheduler
from rlvr.processes import PARENT, end_group, signal_group
from rlvr.ranks import HOST, HOSTS
from rlvr.result import read, write_atomic
from rlvr.worker import TERMINATED

ENDED_BY_SIGNAL = (TERMINATED, -signal.SIGTERM, -signal.SIGUSR2)
EARLY = 60.0  # seconds by which Slurm may send the signal too early
EARLIER_ATTEMPT = 90.0  # seconds that it gets to end; a lost node may never let go of its lock
MOMENT = 1.0  # second
SUBMISSION = ".slurm_submission"  # in the job's directory


@dataclass(frozen=True)
class Task:
    """What the controller leaves for a node. Of several submissions of a job the one whose
    `submission` stands in the job's directory is to run; a late one ends."""

    submission: str
    command: list[str]
    environment: dict[str, str]
    directory: str
    log: str
    timeout_min: int
    signal_delay_s: int
    requeues: int

    def leave(self, folder: Path, number: int) -> None:
        file(folder, number, "json").write_text(json.dumps(asdict(self)), encoding="utf-8")
        (Path(self.directory) / SUBMISSION).write_text(self.submission, encoding="utf-8")

    def withdraw(self) -> None:
        (Path(self.directory) / SUBMISSION).unlink(missing_ok=True)

    def is_wanted(self) -> bool:
        file = Path(self.directory) / SUBMISSION
        return file.is_file() and file.read_text(encoding="utf-8") == self.submission


def file(folder: Path, number: int, kind: str) -> Path:
    """Of task `number`: its description (`json`); `started`; the exit code (`exit`); when it was
    queued again at its time limit (`requeues`)."""
    return folder / f"{number}.{kind}"


def exit_code(folder: Path, number: int) -> int | None:
    """The worker's, once the task is over and will not start again."""
    path = file(folder, number, "exit")
    return int(path.read_text(encoding="utf-8")) if path.exists() else None


def start(folder: str) -> int:
    """What is submitted: the same for all tasks of an array. The worker's exit code."""
    return Node(Path(folder), int(os.environ.get("SLURM_ARRAY_TASK_ID", 0))).run()


class Node:
    """Its signals are its own: it knows better than submitit when a job may be queued again."""

    def __init__(self, folder: Path, number: int) -> None:
        self.folder, self.number = folder, number
        self.task = Task(**json.loads(file(folder, number, "json").read_text(encoding="utf-8")))
        self.hosts = slurm_nodes()
        self._told: int | None = None
        self._worker: subprocess.Popen[bytes] | None = None
        self._limit = time.time() + 60 * self.task.timeout_min

    @property
    def host(self) -> str:
        return self.hosts.get(HOST, "0")

    def run(self) -> int:
        """The worker's exit code."""
        for number in (signal.SIGUSR2, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._tell)
        with alone(Path(self.task.directory), self.host):
            if not self.task.is_wanted():
                print("another submission has taken the place of this one", flush=True)
                return 0
            if (code := exit_code(self.folder, self.number)) is not None:
                return code
            file(self.folder, self.number, "started").touch()
            # queued again while it was at its very end, it has nothing left to do
            code = 0 if self._has_finished() else self._work()
            if self.host == "0":
                self._conclude(code)
            return code

    def _has_finished(self) -> bool:
        found = read(Path(self.task.directory))
        return found is not None and found.status.complete

    def _work(self) -> int:
        log = self.task.log if self.host == "0" else f"{self.task.log}.{self.host}"
        with Path(log).open("ab") as output:
            self._worker = subprocess.Popen(
                self.task.command,
                env={**os.environ, **self.hosts, PARENT: str(os.getpid()), **self.task.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if self._told is not None:
            signal_group(self._worker.pid, signal.Signals(self._told))
        code = self._worker.wait()
        end_group(self._worker.pid)
        if code in ENDED_BY_SIGNAL and self._told is None:
            time.sleep(MOMENT)  # Slurm signals every process, and the worker may come before this
        return code

    def _tell(self, number: int, frame: FrameType | None) -> None:
        if self._told != signal.SIGTERM:  # a job that is cancelled is not queued again
            self._told = number
        if self._worker is not None:
            signal_group(self._worker.pid, signal.Signals(number))

    def _conclude(self, code: int) -> None:
        """Say that the task is over, unless it is to start again."""
        if self._told is not None and code in ENDED_BY_SIGNAL:
            by_slurm = self._told != signal.SIGUSR2 and not self._is_in_grace()
            if by_slurm or self._requeue():
                return
        write_atomic(file(self.folder, self.number, "exit"), str(code))

    def _is_in_grace(self) -> bool:
        place = (self.task.submission, self.number)
        seen = (scheduler.queued([self.task.submission]) or {}).get(place)
        return seen is not None and seen.word == "RUNNING"

    def _requeue(self) -> bool:
        if self._at_limit() and not self._may_go_on():
            return False
        own = os.environ
        task = f"_{self.number}" if "SLURM_ARRAY_JOB_ID" in own else ""
        job = (own.get("SLURM_ARRAY_JOB_ID") or own["SLURM_JOB_ID"]) + task
        print(f"asks Slurm to queue {job} again", flush=True)
        # a negative code: Slurm ends the processes of the job at once, this one among them
        return subprocess.run(["scontrol", "requeue", job], check=False).returncode <= 0

    def _at_limit(self) -> bool:
        """Else the signal announces a pre-emption, which is not the job's fault."""
        end = float(os.environ.get("SLURM_JOB_END_TIME") or self._limit)
        return end - time.time() <= self.task.signal_delay_s + EARLY

    def _may_go_on(self) -> bool:
        times = file(self.folder, self.number, "requeues")
        used = len(times.read_text(encoding="utf-8").splitlines()) if times.exists() else 0
        if used >= self.task.requeues:
            print(f"the time limit was reached {used + 1} times, which is enough", flush=True)
            return False
        with times.open("a", encoding="utf-8") as out:
            out.write(f"{time.time():.0f}\n")
        return True


@contextmanager
def alone(directory: Path, host: str) -> Iterator[None]:
    """No other attempt at the job on this place among its nodes; one that is being killed may
    still be saving."""
    give_up = time.monotonic() + EARLIER_ATTEMPT
    with (directory / f".slurm_node_{host}").open("a") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > give_up:
                    print("an earlier attempt has not let go of its lock: going on", flush=True)
                    break
                time.sleep(0.5)
        yield


def slurm_nodes() -> dict[str, str]:
    """The nodes of a Slurm job that has several, as `rlvr.ranks` reads them."""
    if int(os.environ.get("SLURM_JOB_NUM_NODES", 1)) == 1:
        return {}
    listed = ["scontrol", "show", "hostnames", os.environ["SLURM_JOB_NODELIST"]]
    names = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split()
    return {HOSTS: ",".join(names), HOST: os.environ["SLURM_NODEID"]}
