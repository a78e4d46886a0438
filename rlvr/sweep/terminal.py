"""What the user sees while a sweep runs: a line per change, and on a terminal the running jobs."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr.formatting import duration, number
from rlvr.manifest import Job
from rlvr.states import State

if TYPE_CHECKING:
    from rich.console import Console, Group

PROGRESS = "progress.json"
SHOWN = 16  # running jobs; there may be more than a terminal has lines


class Terminal:
    def __init__(self, console: "Console | None" = None) -> None:
        from rich.console import Console

        self.console = console or Console(highlight=False)
        self.jobs: list[tuple[Job, Path]] = []
        self.metric = "value"

    def say(self, text: str) -> None:
        if self.console.is_terminal:
            self.console.print(text, markup=False)
        else:
            print(text, flush=True)

    @contextmanager
    def watching(self, jobs: list[tuple[Job, Path]], metric: str) -> Iterator[None]:
        """Show `jobs`, each with its directory, until the block ends."""
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
        self.say(f"#{job.index} {job.name} {self._news(job)}")

    def _news(self, job: Job) -> str:
        if job.state is State.finished:
            return f"finished in {_elapsed(job)}{self._value(job.value)}"
        if job.state in (State.failed, State.killed):
            return f"{job.state} after {_elapsed(job)}: {_first_line(job.error)}"
        return str(job.state)

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
        running = [(job, where) for job, where in self.jobs if job.state is State.running]
        for job, directory in running[:SHOWN]:
            cells = (f"#{job.index} {job.name}", progress(directory), _elapsed(job))
            table.add_row(*map(Text, cells))  # a name may hold [brackets], which are no markup
        counts = Counter(job.state for job, _ in self.jobs)
        return Group(table, Text(", ".join(f"{counts[s]} {s}" for s in State if counts[s])))


def progress(directory: Path) -> str:
    """`train 12/40  reward 0.61  2m 05s left`, or nothing before the job's first report."""
    try:
        state: dict[str, Any] = json.loads((directory / PROGRESS).read_text(encoding="utf-8"))
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


def _first_line(text: str | None) -> str:
    return (text or "no reason known").strip().partition("\n")[0]
