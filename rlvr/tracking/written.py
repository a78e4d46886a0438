"""What earlier attempts at a run have given to a tracker that cannot be asked for it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlvr.result import write_atomic

FILE = "tracked.json"


class Written:
    """Kept in the run's directory: a run that goes on repeats steps, to the same numbers, and asks
    again for scores that it has. `run_id` is the tracker's own name for the run."""

    def __init__(self, run_dir: Path) -> None:
        self._file = run_dir / FILE
        known: dict[str, Any] = {}
        if self._file.is_file():
            known = json.loads(self._file.read_text(encoding="utf-8"))
        self.run_id: str | None = known.get("run_id")
        self.step: int = known.get("step", -1)  # the newest
        self._of_step = set(known.get("of_step", ()))  # names that it has
        self._scores: dict[str, float] = known.get("scores", {})  # what has no step

    def new(self, metrics: Mapping[str, float], step: int | None) -> dict[str, float]:
        """Those that have not been written, or not so; from now on they are."""
        if step is None:
            new = {name: v for name, v in metrics.items() if self._scores.get(name) != v}
            self._scores |= new
        else:
            known = self._of_step if step == self.step else metrics if step < self.step else ()
            new = {name: value for name, value in metrics.items() if name not in known}
            if step > self.step:
                self.step, self._of_step = step, set()
            self._of_step |= new.keys()
        if new:
            self.save()
        return new

    def save(self) -> None:
        record = {
            "run_id": self.run_id,
            "step": self.step,
            "of_step": sorted(self._of_step),
            "scores": self._scores,
        }
        write_atomic(self._file, json.dumps(record) + "\n")
