"""What a run is doing: each phase as it begins, how far it is, and when the whole run ends.

On a terminal there is a bar below the phases that are over; elsewhere a line for each phase and for
each tenth of a long one. `progress.json` says the same to the sweep's view.
"""

import json
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr import ranks
from rlvr.formatting import duration
from rlvr.result import write_atomic

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

FILE = "progress.json"
TRAINING = "training"


class Progress:
    """One run, from its first line to its last. `update` is cheap enough for every step."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.began = time.monotonic()
        self.estimate = Estimate()
        self.phase = ""
        self.shown = 0.0
        self.display: Display | None = None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def begin(self, phase: str, total: int = 0, done: int = 0) -> None:
        """`total` units of work are to come, `done` of them were done before; 0: nobody knows."""
        self.phase, self.shown = phase, 0.0
        self.estimate.begin(phase, total, done)
        if not ranks.is_main():
            return
        if self.display is None and Display.is_possible():
            self.display = Display()
        if self.display is not None:
            self.display.begin(phase, total, self._clock())
        else:
            self._print(phase)
        self._report(done, total, {})

    def update(self, done: int, total: int, **values: float) -> None:
        """`values` are shown as they are called, such as reward=0.7."""
        self.estimate.update(done, total)
        if ranks.is_main():
            self._report(done, total, values)

    def end(self) -> None:
        """The run is over, however it ended."""
        if self.display is not None:
            self.display.end(self._clock())
            self.display = None

    def _report(self, done: int, total: int, values: dict[str, float]) -> None:
        left = self.estimate.left()
        ends_at = None if left is None else time.time() + left
        state = {"phase": self.phase, "step": done, "max_steps": total, "ends_at": ends_at}
        if self.run_dir.is_dir():
            write_atomic(self.run_dir / FILE, json.dumps({**state, **values}) + "\n")
        news = in_words(done, total, left, values)
        if self.display is not None:
            self.display.update(done, total, news, in_words(done, total, None, values))
        elif total and done and (done / total >= self.shown + 0.1 or done >= total):
            self.shown = done / total
            self._print(f"{self.phase} {news}")

    def _print(self, text: str) -> None:
        print(f"{self._clock():>7}  {text}", file=sys.stderr, flush=True)

    def _clock(self) -> str:
        seconds = int(time.monotonic() - self.began)
        return f"{seconds // 60}:{seconds % 60:02d}"


def in_words(done: int, total: int, left: float | None, values: dict[str, float]) -> str:
    """`12/40  reward 0.612  ends in 2m 05s`; what is not known is left out."""
    parts = [f"{done}/{total}"] if total else []
    parts += [f"{name} {value:.3f}" for name, value in values.items()]
    return "  ".join(parts if left is None else [*parts, f"ends in {duration(left)}"])


@dataclass(frozen=True)
class Later:
    """A phase to come: its units last as long as those of the phase `like`, where it was measured;
    else each as long as `steps` training steps."""

    total: int
    like: str
    steps: float


class Estimate:
    """Seconds to the end of the whole run, from what it has measured of itself."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.later: dict[str, Later] = {}
        self.seconds_each: dict[str, float] = {}
        self.begin("", 0, 0)

    def begin(self, phase: str, total: int, done: int) -> None:
        self.phase, self.total, self.done = phase, total, done
        self.began, self.first = self.clock(), done
        self.mark: tuple[float, int] | None = None
        self.expected = self.later.pop(phase, None)

    def update(self, done: int, total: int) -> None:
        self.done, self.total, now = done, total, self.clock()
        if self.mark is None:
            # A first training step compiles and checks: it is no measure of the others.
            if self.phase != TRAINING or done > self.first:
                self.mark = (now, done)
        elif done > self.mark[1]:
            self.seconds_each[self.phase] = (now - self.mark[0]) / (done - self.mark[1])

    def left(self) -> float | None:
        """None where something that is to come has not been measured, and in the last second."""
        parts = [self._left_here(), *map(self._lasts, self.later.values())]
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) and sum(known) > 1 else None

    def _left_here(self) -> float | None:
        """Of the current phase; one without units is short."""
        if not self.total or self.done >= self.total:
            return 0.0
        if (each := self.seconds_each.get(self.phase)) is not None:
            return each * (self.total - self.done)
        if self.expected is None or (whole := self._lasts(self.expected)) is None:
            return None
        left = whole - (self.clock() - self.began)
        return left if left > 0 else None

    def _lasts(self, later: Later) -> float | None:
        if (each := self.seconds_each.get(later.like)) is not None:
            return each * later.total
        step = self.seconds_each.get(TRAINING)
        return None if step is None else step * later.steps * later.total


class Display:
    """The live line of a terminal: phase, bar, and the news."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self.bars: Bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[news]}", markup=False),
            console=Console(stderr=True, highlight=False),
            expand=True,
            refresh_per_second=4,
            # A Console of stderr must not swallow what is piped from stdout.
            redirect_stdout=sys.stdout.isatty(),
        )
        self.task: Any = None
        self.phase = ""
        self.over = ""  # what the phase leaves when it is over
        self.streams: list[tuple[Any, Any]] = []

    @staticmethod
    def is_possible() -> bool:
        from rich.console import Console

        console = Console(stderr=True)
        return console.is_terminal and not console.is_dumb_terminal

    def begin(self, phase: str, total: int, clock: str) -> None:
        self._finish(clock)
        if not self.bars.live.is_started:
            self.bars.start()
            self._redirect_logs()
        self.phase, self.over = phase, ""
        self.task = self.bars.add_task(phase, total=total or None, news="")

    def update(self, done: int, total: int, news: str, over: str) -> None:
        self.over = over
        self.bars.update(self.task, completed=done, total=total or None, news=news)

    def end(self, clock: str) -> None:
        self._finish(clock)
        for handler, stream in self.streams:
            handler.setStream(stream)
        self.bars.stop()

    def _finish(self, clock: str) -> None:
        """What is over becomes a line above the bar."""
        if self.task is not None:
            self.bars.remove_task(self.task)
            self.task = None
            line = f"{clock:>7}  {self.phase} {self.over}".rstrip()
            self.bars.console.print(line, markup=False)

    def _redirect_logs(self) -> None:
        """Log handlers keep the stream they began with, and would write across the bar."""
        for handler in logging.root.handlers:
            stream = getattr(handler, "stream", None)
            if isinstance(handler, logging.StreamHandler) and stream in (
                sys.__stdout__,
                sys.__stderr__,
            ):
                self.streams.append((handler, stream))
                handler.setStream(sys.stdout if stream is sys.__stdout__ else sys.stderr)
