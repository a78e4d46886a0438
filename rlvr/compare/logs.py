"""What a run has logged while it trained: metrics by step, and health warnings with their steps."""

import json
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from rlvr import pruning
from rlvr.compare.runs import RunRow
from rlvr.errors import UserError

WARNED = "health/warnings"  # how many a run has given so far
WARNING = re.compile(r"health, (steps? [\d to]*\d): (.*)")
CHARACTERS = 400  # of a warning


@dataclass(frozen=True)
class HealthWarning:
    """`steps` as the log says them: `step 3` or `steps 3 to 7`."""

    run: int
    steps: str
    text: str

    @property
    def step(self) -> int:
        """When it was given."""
        return int(self.steps.split()[-1])


def metrics(run: Path) -> list[dict[str, Any]]:
    """What a run has logged so far, a record a step or more."""
    file = run / "metrics.jsonl"
    if not file.is_file():
        return []
    try:
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    except ValueError as error:
        raise UserError(
            f"{file} is not a run's metrics, one JSON object a line: {error}"
        ) from error


def looks(run: Path) -> list[dict[str, Any]]:
    """What a pruner saw of a run, in the form of `metrics`."""
    return [
        {"step": look.step, "validation/accuracy": look.accuracy}
        for look in pruning.read_looks(run)
    ]


def health_warnings(row: RunRow) -> list[HealthWarning]:
    """Those in a run's log; where that is elsewhere, only when they were given."""
    log = row.directory / "train.log"
    if log.is_file():
        text = log.read_text(encoding="utf-8", errors="replace")
        found = WARNING.finditer(text)
        return [HealthWarning(row.index, f[1], f[2].strip()[:CHARACTERS]) for f in found]
    counts = [(r["step"], r[WARNED]) for r in metrics(row.directory) if WARNED in r]
    rises = [at for (_, before), (at, now) in pairwise([(0, 0), *counts]) if now > before]
    unsaid = "what it said is in the log of the job"
    return [HealthWarning(row.index, f"step {at}", unsaid) for at in rises]
