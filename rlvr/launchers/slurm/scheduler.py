"""Slurm's own commands, and what their answers say. Jobs are asked for by the name of their
submission, which is known before Slurm has given them numbers.

`squeue` asks the scheduler itself: a job that it has not, does not run. `sacct` asks the
accounting, which may lag behind or be down; it only says how jobs ended that squeue has dropped.
"""

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from rlvr.states import State

COMMANDS = ("sbatch", "srun", "squeue", "sacct", "scancel", "scontrol")
PATIENCE = 60.0  # seconds until a command counts as unanswered

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
        place = job_id.partition("_")[2] or "0"  # a job that is alone is no array
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
