"""Completions on which the reward and the second opinion disagree, kept to be read."""

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rlvr.result import write_atomic
from rlvr.safeguards.health_signals import PAID, Batch, last_number_right
from rlvr.safeguards.second_opinion import last_number

FILE = "health_disagreements.jsonl"
KEPT = 25  # of each kind
TAIL = 2_000  # characters of a completion


class Disagreements:
    """The KEPT worst of each kind: paid most first, then the latest."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._kept: dict[str, dict[tuple[str, str], dict[str, Any]]] = defaultdict(dict)
        self._changed = False

    def add(self, batch: Batch, step: int) -> None:
        numeric, right = last_number_right(batch)
        paid = batch.paid >= PAID
        for i in np.flatnonzero(numeric & ~np.isnan(batch.paid) & (paid != right)).tolist():
            row = _row(batch, i, step)
            kept = self._kept[row["disagreement"]]
            kept[row["question"], str(row["extracted"])] = row
            while len(kept) > KEPT:
                del kept[min(kept, key=lambda key: _badness(kept[key]))]
            self._changed = True

    def rows(self) -> list[dict[str, Any]]:
        return [
            row
            for kind in sorted(self._kept)
            for row in sorted(self._kept[kind].values(), key=_badness, reverse=True)
        ]

    def write(self) -> None:
        """Bring the file up to date."""
        if self._changed:
            lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows())
            write_atomic(self._file, "".join(lines))
            self._changed = False


def _badness(row: Mapping[str, Any]) -> tuple[float, int]:
    return row["reward"], row["step"]


def _row(batch: Batch, i: int, step: int) -> dict[str, Any]:
    paid, verdict = float(batch.paid[i]), batch.verdicts[i]
    found = last_number(batch.texts[i])
    return {
        "disagreement": "paid, last number wrong" if paid >= PAID else "right, not paid",
        "step": step,
        "reward": round(float(batch.totals[i]), 4),
        "question": batch.questions[i][-TAIL:],
        "gold": batch.golds[i],
        "extracted": verdict.extracted,
        "last_number": None if found is None else str(found),
        "reason": verdict.reason.value,
        "completion": batch.texts[i][-TAIL:],
    }
