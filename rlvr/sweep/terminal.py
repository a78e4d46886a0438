"""What the user sees of a sweep: a line per change, on a terminal the running jobs, and at the
end what failed, why, and how to go on."""

import shlex
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr import manifest
from rlvr.dotted_keys import override_key
from rlvr.formatting import duration, number
from rlvr.manifest import Job
from rlvr.states import State
from rlvr.sweep.command import resume
from rlvr.sweep.remaining import elapsed, left_of, read_progress, seconds_left

if TYPE_CHECKING:
    from rich.console import Console, Group

SHOWN = 16  # running jobs; there may be more than a terminal has lines
LEAST = 34  # columns for progress and time beside a label
REMINDER = 60  # seconds
LINES = 6  # of a failed job's error or log


class Terminal:
    def __init__(self, console: "Console | None" = None) -> None:
        from rich.console import Console

        self.console = console or Console(highlight=False)
        self.jobs: Sequence[Job] = ()
        self.metric = "value"

    def say(self, text: str) -> None:
        if self.is_live:
            self.console.print(text, markup=False)
        else:
            print(text, flush=True)

    @contextmanager
    def watching(self, jobs: Sequence[Job], metric: str) -> Iterator[None]:
        """Show `jobs` until the block ends: live on a terminal, else a line now and then."""
        from rich.live import Live

        self.jobs, self.metric = jobs, metric.rpartition("/")[2]
        if not jobs:
            yield
        elif self.is_live:
            live = Live(
                console=self.console,
                get_renderable=self._running,
                refresh_per_second=2,
                transient=True,
            )
            with live:
                yield
        else:
            over = threading.Event()
            threading.Thread(target=self._remind, args=(over,), daemon=True).start()
            try:
                yield
            finally:
                over.set()

    @property
    def is_live(self) -> bool:
        return self.console.is_terminal and not self.console.is_dumb_terminal

    def _remind(self, over: threading.Event) -> None:
        while not over.wait(REMINDER):
            self.say(summary(self.jobs))

    def changed(self, job: Job) -> None:
        news = str(job.state)
        if job.state is State.finished:
            news = f"finished in {duration(elapsed(job))}{self._value(job.value)}"
        elif job.state.ended:
            reason = (job.error or "no reason known").strip().partition("\n")[0]
            news = f"{job.state} after {duration(elapsed(job))}: {reason}"
        self.say(f"{job.label} {news}")
        if job.state.ended and not self.is_live and not all(j.state.ended for j in self.jobs):
            self.say(summary(self.jobs))

    def _value(self, value: float | None) -> str:
        if value is None:
            return ""
        return f": {self.metric} {number(value) if isfinite(value) else value}"

    def _running(self) -> "Group":
        """A line for each job that runs, then the whole sweep; what tells jobs apart is whole."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        running = [job for job in self.jobs if job.state is State.running][:SHOWN]
        lines = [Text(line) for line in rows(running, self.console.width)]
        over = sum(job.state.ended for job in self.jobs)
        sweep = Table.grid(padding=(0, 2))
        sweep.add_row(ProgressBar(len(self.jobs), over, width=16), Text(summary(self.jobs)))
        return Group(*lines, sweep)


def rows(jobs: Sequence[Job], width: int) -> list[str]:
    """Label, progress and time of each job within `width` columns. Progress gives way; a label
    that leaves it no room gets lines of its own."""
    longest = max((len(job.label) for job in jobs), default=0)
    stacked = longest > width - LEAST
    lines = []
    for job in jobs:
        start = "    " if stacked else f"{job.label:{longest}}  "
        time = f"  {duration(elapsed(job))}"
        news = fitting(read_progress(job.directory), width - len(start) - len(time))
        lines += [job.label] if stacked else []
        lines.append(f"{start}{news}{time}")
    return lines


def fitting(state: dict[str, Any], room: int) -> str:
    """`training 12/40  ends in 2m 05s  reward 0.61`, as much of it as there is room for."""
    if not state:
        return "starting"[:room]
    steps = f" {state.get('step', 0)}/{state['max_steps']}" if state.get("max_steps") else ""
    parts = [f"{state.get('phase', '')}{steps}"]
    if (left := left_of(state)) is not None:
        parts.append(f"ends in {duration(left)}")
    if isinstance(state.get("reward"), int | float):
        parts.append(f"reward {state['reward']:.2f}")
    while len(parts) > 1 and len("  ".join(parts)) > room:
        parts.pop()
    return "  ".join(parts)[: max(room, 0)]


def summary(jobs: Sequence[Job]) -> str:
    """`1 not started, 2 running, 1 finished; ends in 3m 05s`."""
    left = seconds_left(jobs)
    return counts(jobs) + ("" if left is None else f"; ends in {duration(left)}")


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
