"""Slurm's own commands, and what their answers say. Jobs are asked for by the name of their
submission, which is known before Slurm has given them numbers.

`squeue` asks the scheduler itself: a job that it has not, does not run. `sacct` asks the
accounting, which may lag behind or be down; it only says how jobs ended that squeue has dropped.
"""

import fcntl
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeAlias

from rlvr.states import State

COMMANDS = ("sbatch", "srun", "squeue", "sacct", "scancel", "scontrol")
PATIENCE = 60.0  # seconds until a command counts as unanswered
IN_FLIGHT = "sbatch.lock"

Task: TypeAlias = tuple[str, int]  # name of the submission, place in its array


@dataclass(frozen=True)
class Seen:
    """A task as Slurm has it: `word` is its state there."""

    job_id: str
    word: str

    @property
    def state(self) -> State:
        return State.of_slurm(self.word)

    @property
    def ended(self) -> bool:
        """A word that the table of states does not have says at least that the job is there."""
        return self.state.ended and self.state is not State.lost


def submit(script: Path) -> tuple[str | None, str]:
    """The array's number, or None where sbatch gave none; and what it said."""
    with (script.parent / IN_FLIGHT).open("a") as lock:
        # held by sbatch too: it may outlive this process, and is then waited for on resume
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(
            # the name goes before SBATCH_JOB_NAME only where it is given here
            ["sbatch", "--parsable", f"--job-name={script.parent.name}", str(script)],
            capture_output=True,
            text=True,
            check=False,
            pass_fds=[lock.fileno()],
            start_new_session=True,  # a Ctrl-C at the terminal is for the controller alone
        )
    number = done.stdout.strip().partition(";")[0]
    return (number if done.returncode == 0 and number.isdigit() else None), done.stderr.strip()


def is_submitting(folder: Path) -> bool:
    """Does an sbatch still run that an earlier controller started?"""
    if not folder.is_dir():
        return False
    with (folder / IN_FLIGHT).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def queued(names: Iterable[str]) -> dict[Task, Seen] | None:
    """What the scheduler has, also what has ended lately; None where it does not answer."""
    every = ["--noheader", "--array", "--states=all"]
    return _tasks(["squeue", *every, f"--name={','.join(sorted(names))}", "--format=%j|%i|%T"])


def accounted(names: Iterable[str], since: str) -> dict[Task, Seen]:
    """What the accounting has of submissions after `since` (ISO, UTC); nothing where it is down."""
    begin = datetime.fromisoformat(since).astimezone() - timedelta(days=1)
    options = ["--noheader", "--parsable2", "--allocations", f"--starttime={begin:%Y-%m-%d}"]
    wanted = [f"--name={','.join(sorted(names))}", "--format=JobName,JobID,State"]
    return _tasks(["sacct", *options, *wanted]) or {}


def cancel(names: Iterable[str]) -> str:
    """SIGTERM, then SIGKILL, for all tasks of the submissions; what scancel has against it."""
    done = [_run(["scancel", f"--name={name}"]) for name in sorted(names)]
    return "; ".join(d.stderr.strip() or "no answer" for d in done if d.returncode)


def _tasks(command: list[str]) -> dict[Task, Seen] | None:
    done = _run(command)
    if done.returncode:
        return None
    found = {}
    for line in done.stdout.splitlines():
        name, job_id, word = line.split("|")
        place = job_id.partition("_")[2]
        if place.isdigit():  # tasks that wait together are one line of sacct, `100_[2-5]`
            found[name, int(place)] = Seen(job_id, word)
    return found


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=PATIENCE,
            start_new_session=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"{command[0]} did not answer")
