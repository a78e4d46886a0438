"""Shared or stock, whichever is faster on this machine: measured in the first steps, then kept.

The choice changes the rounding of an update. So it is written down, with the step from which it
holds, and a run that is resumed or repeated takes it from there.
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from rlvr.result import write_atomic

log = logging.getLogger(__name__)

STEPS = 3  # optimizer steps that are measured
CLEARLY = 1.15  # times stock's seconds: less may be noise, and sharing saves memory anyway


class Choice:
    """Between the seconds that a trained row takes, stock and shared.

    `records` are the files that may know the choice, the first of them is the run's own.
    """

    def __init__(self, records: Sequence[Path]) -> None:
        self.records = records
        known = next((file for file in records if file.exists()), None)
        self.made: dict[str, Any] | None = json.loads(known.read_text("utf-8")) if known else None
        self.measured: list[tuple[float, float]] = []  # stock's seconds a row, shared ones

    def shares(self, step: int) -> bool:
        """Whether the update after `step` optimizer steps is to be shared."""
        return self.made is None or self.made["shared"] or step < self.made["from_step"]

    def add(self, stock: float, shared: float, step: int) -> None:
        """A step's measurement; the last one decides. `step` counts the optimizer steps done."""
        self.measured.append((stock, shared))
        if len(self.measured) == STEPS:
            stock, shared = (median(x) for x in zip(*self.measured, strict=True))
            self.made = {
                "shared": shared <= CLEARLY * stock,
                "from_step": step,
                "seconds_a_row": {"stock": stock, "shared": shared},
            }
            taken = "shared" if self.made["shared"] else "stock"
            log.info(
                "trainer.shared_prefix=auto: a row's update takes %.3g s shared and %.3g s in "
                "stock TRL (median of %d steps): %s from step %d on",
                *(shared, stock, STEPS, taken, step),
            )

    def write(self) -> None:
        for file in self.records:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(file, json.dumps(self.made, indent=2) + "\n")
