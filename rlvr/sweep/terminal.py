"""What the user sees of a sweep: a line per change, on a terminal the running jobs, and at the
end what failed, why, and how to go on."""

import json
import shlex
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr import manifest, progress
from rlvr.dotted_keys import override_key
from rlvr.formatting import duration, number
from rlvr.manifest import Job
from rlvr.states import State
from rlvr.sweep.command import resume

if TYPE_CHECKING:
    from rich.console import Console, Group

SHOWN = 16  # running jobs; there may be more than a terminal has lines
LINES = 6  # of a failed job's error or log


class Terminal:
    def __init__(self, console: "Console | None" = None) -> None:
        from rich.console import Console

        self.console = console or Console(highlight=False)
        self.jobs: Sequence[Job] = ()
        self.metric = "value"

    def say(self, text: str) -> None:
        if self.console.is_terminal:
            self.console.print(text, markup=False)
        else:
            print(text, flush=True)

    @contextmanager
    def watching(self, jobs: Sequence[Job], metric: str) -> Iterator[None]:
        """Show `jobs` until the block ends."""
        from rich.live import Live

        self.jobs, self.metric = jobs, metric.rpartition("/")[2]
        if not self.console.is_terminal or not jobs:
            yield
            return
        live = Live(
            console=self.console, get_renderable=self._running, refresh_per_second=2, transient=True
        )
        with live:
            yield

    def changed(self, job: Job) -> None:
        news = str(job.state)
        if job.state is State.finished:
            news = f"finished in {_elapsed(job)}{self._value(job.value)}"
        elif job.state.ended:
            reason = (job.error or "no reason known").strip().partition("\n")[0]
            news = f"{job.state} after {_elapsed(job)}: {reason}"
        self.say(f"{job.label} {news}")

    def _value(self, value: float | None) -> str:
        if value is None:
            return ""
        return f": {self.metric} {number(value) if isfinite(value) else value}"

    def _running(self) -> "Group":
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        for _ in range(3):
            table.add_column(no_wrap=True, overflow="ellipsis")
        running = [job for job in self.jobs if job.state is State.running]
        for job in running[:SHOWN]:
            cells = (job.label, last_progress(job.directory), _elapsed(job))
            table.add_row(*map(Text, cells))  # a name may hold [brackets], which are no markup
        return Group(table, Text(counts(self.jobs)))


def last_progress(directory: Path) -> str:
    """`train 12/40  reward 0.61  2m 05s left`, or nothing before the job's first report."""
    try:
        state: dict[str, Any] = json.loads((directory / progress.FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    parts = [f"{state.get('phase', '')} {state.get('step', 0)}/{state.get('max_steps', '?')}"]
    if isinstance(state.get("reward"), int | float):
        parts.append(f"reward {state['reward']:.2f}")
    if isinstance(state.get("eta_s"), int | float):
        parts.append(f"{duration(state['eta_s'])} left")
    return "  ".join(parts)


def _elapsed(job: Job) -> str:
    started = datetime.fromisoformat(job.started) if job.started else datetime.now(UTC)
    ended = datetime.fromisoformat(job.ended) if job.ended else datetime.now(UTC)
    return duration(max(0.0, (ended - started).total_seconds()))


def counts(jobs: Sequence[Job]) -> str:
    """`3 not started, 2 finished, 1 failed`."""
    found = Counter(job.state for job in jobs)
    words = {State.pending: "not started"}
    return ", ".join(f"{found[s]} {words.get(s, s)}" for s in State if found[s])


def shown(path: Path) -> str:
    """Relative where that is shorter to read and the path is below the working directory."""
    absolute, here = path.absolute(), Path.cwd()
    return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(absolute)


def command_line() -> list[str]:
    return ["python", shown(Path(sys.argv[0])), *sys.argv[1:]]


def resume_command(command: list[str], directory: Path) -> str:
    kept = [part for part in command if override_key(part) != "launcher.resume"]
    return shlex.join([*kept, resume(shown(directory))])


def errors(jobs: Sequence[tuple[Job, Path, str | None]]) -> str:
    """Jobs with their logs and tracebacks -> the last lines of each error, once for all jobs
    that share it, and where the rest is."""
    sharing: dict[str, list[tuple[Job, Path]]] = {}
    for job, log, traceback in jobs:
        sharing.setdefault(_last_lines(job, log, traceback), []).append((job, log))
    paragraphs = []
    for text, same in sharing.items():
        names = [f"{job.label}: {job.state}" for job, _ in same]
        logs = [f"  log: {shown(log)}" for _, log in same[:3]]
        paragraphs.append("\n".join([*names, text, *logs]))
    return "\n".join(paragraphs)


def _last_lines(job: Job, log: Path, traceback: str | None) -> str:
    text = traceback or job.error or "no reason known"
    if traceback is None and log.is_file():
        text = f"{log.read_text(encoding='utf-8', errors='replace')}\n{text}"
    lines = [line.rstrip()[:200] for line in text.splitlines() if line.strip()]
    return "\n".join(f"    {line}" for line in lines[-LINES:])


def failure(directory: Path, failed: Sequence[Job], total: int) -> str:
    names = ", ".join(f"#{job.index}" for job in failed[:8]) + (", ..." if len(failed) > 8 else "")
    return (
        f"{len(failed)} of {total} jobs did not finish ({names}): errors, logs and how to resume "
        f"are above; the record is {shown(directory / manifest.FILE)}"
    )
