"""The last lines of a sweep that did not go through: what failed, why, and how to go on."""

import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rlvr.manifest import Job
from rlvr.states import State

LINES = 6  # of a failed job's error or log


def command_line() -> list[str]:
    return ["python", shown(Path(sys.argv[0])), *sys.argv[1:]]


def resume_command(command: list[str], directory: Path) -> str:
    kept = [part for part in command if not part.startswith("launcher.resume=")]
    return shlex.join([*kept, f"launcher.resume={shown(directory)}"])


def shown(path: Path) -> str:
    """Relative where that is shorter to read and the path is below the working directory."""
    absolute, here = path.absolute(), Path.cwd()
    return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(absolute)


def counts(jobs: list[Job]) -> str:
    """`2 finished, 1 failed, 3 not started`."""
    number = Counter(job.state for job in jobs)
    words = {State.pending: "not started"}
    return ", ".join(f"{number[s]} {words.get(s, s)}" for s in State if number[s])


def unfinished(jobs: Sequence[tuple[Job, Path, str | None]]) -> str:
    """Jobs with their logs and tracebacks -> the last lines of each error, told once for all
    jobs that share it, and where the rest is."""
    told: dict[str, list[tuple[Job, Path]]] = {}
    for job, log, traceback in jobs:
        told.setdefault(_last_lines(job, log, traceback), []).append((job, log))
    return "\n".join(_tell(text, same) for text, same in told.items())


def _last_lines(job: Job, log: Path, traceback: str | None) -> str:
    text = traceback or job.error or "no reason known"
    if traceback is None and log.is_file():
        text = f"{log.read_text(encoding='utf-8', errors='replace')}\n{text}"
    lines = [line.rstrip()[:200] for line in text.splitlines() if line.strip()]
    return "\n".join(f"    {line}" for line in lines[-LINES:])


def _tell(text: str, same: list[tuple[Job, Path]]) -> str:
    names = [f"#{job.index} {job.name}: {job.state}" for job, _ in same]
    logs = [f"  log: {shown(log)}" for _, log in same[:3]]
    return "\n".join([*names, text, *logs])


def failure(directory: Path, failed: list[Job], total: int) -> str:
    names = ", ".join(f"#{job.index}" for job in failed[:8]) + (", ..." if len(failed) > 8 else "")
    return (
        f"{len(failed)} of {total} jobs did not finish ({names}): "
        f"errors, logs and how to resume are above; the record is {shown(directory / 'sweep.json')}"
    )
