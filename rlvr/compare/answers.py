"""Right answers by question, read from the rows that a run's evaluations left."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlvr.errors import UserError

Shares = Mapping[str, float]  # share of a question's samples that are right, by the question's id


def read_rows(run: Path, phase: str, benchmark: str | None = None) -> dict[str, dict[str, Any]]:
    """Rows of the `base` or `trained` evaluation by question id; empty where there are none.

    A question that a data set has twice is two questions.
    """
    file = run / "evaluations" / (f"{phase}.{benchmark}.jsonl" if benchmark else f"{phase}.jsonl")
    if not file.is_file():
        return {}
    seen: Counter[str] = Counter()
    rows = {}
    try:
        for row in map(json.loads, file.read_text(encoding="utf-8").splitlines()):
            seen[row["id"]] += 1
            times = seen[row["id"]]
            rows[row["id"] if times == 1 else f"{row['id']}-{times}"] = row
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{file} is not the rows of an evaluation: {error!r}") from error
    return rows


def read_shares(run: Path, phase: str, benchmark: str | None = None) -> Shares:
    """Without the questions that the verifier itself failed on."""
    rows = read_rows(run, phase, benchmark)
    return {key: share(row) for key, row in rows.items() if None not in row["reward"]}


def share(row: Mapping[str, Any]) -> float:
    return float(sum(row["correct"]) / len(row["correct"]))
