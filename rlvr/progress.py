"""What a run is doing: `progress.json` for the sweep's live view, a line for the user."""

import json
import sys
import time
from pathlib import Path

from rlvr import ranks
from rlvr.result import write_atomic

FILE = "progress.json"


class Progress:
    """One phase of a run. `update` is cheap enough to call at every step or batch."""

    def __init__(self, run_dir: Path, phase: str) -> None:
        self.run_dir = run_dir
        self.phase = phase
        self.started = time.monotonic()
        self.shown = 0.0
        self.bar = sys.stderr.isatty()

    def update(self, step: int, total: int, **values: float) -> None:
        """`values` are shown as they are called, such as reward=0.7."""
        if not ranks.is_main():
            return
        elapsed = time.monotonic() - self.started
        eta = elapsed / step * (total - step) if step else None
        state = {"phase": self.phase, "step": step, "max_steps": total, "eta_s": eta, **values}
        write_atomic(self.run_dir / FILE, json.dumps(state) + "\n")
        self._show(step, total, eta or 0.0, values)

    def _show(self, step: int, total: int, eta: float, values: dict[str, float]) -> None:
        """A line that rewrites itself on a terminal; else one line every tenth of the way."""
        share = step / total if total else 1.0
        if not self.bar and share < self.shown + 0.1 and step < total:
            return
        self.shown = share
        extras = "".join(f"  {name} {value:.3f}" for name, value in values.items())
        line = f"{self.phase} {step}/{total}{extras}  {_clock(eta)} left"
        end = "\n" if step >= total or not self.bar else ""
        start = "\r\x1b[2K" if self.bar else ""
        print(f"{start}{line}", end=end, file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
