"""The charts of a report: what its lines are, and the points on them."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlvr.compare.names import short_names, shown
from rlvr.compare.runs import RunRow
from rlvr.compare.svg import Line, Point
from rlvr.errors import UserError
from rlvr.formatting import number, percent

METRICS = {
    "reward/total": "reward",
    "eval/reward/total": "reward on validation questions",
    "health/accuracy": "share of right rollouts",
    "train/length_mean": "tokens a completion",
    "train/entropy": "entropy (nats a token)",
}
POINTS = 3_000  # of all learning curves together
NOT_A_LINE = ("shots", "dataset.num_shots", "seed")


def shots(row: RunRow) -> int | None:
    found = row.result.shots if row.result else None
    return found if found is not None else row.settings.get("shots")


def against_shots(rows: Sequence[RunRow], part: str) -> tuple[list[Line], dict[float, str]]:
    """Lines of `accuracy` or `format_rate` in percent, and the shots along x in equal steps."""
    known = [row for row in rows if shots(row) is not None]
    counts = sorted({shots(row) or 0 for row in known})
    place = {count: float(i) for i, count in enumerate(counts)}
    base: dict[tuple[float, float], Point] = {}  # of runs that differ in training alone: once
    groups: dict[str, list[Point]] = {}
    for row in known:
        x = place[shots(row) or 0]
        if (before := _point(row, row.base, part, x, "base")) is not None:
            base[x, before.y] = before
        if (after := _point(row, row.trained, part, x, "trained")) is not None:
            groups.setdefault(_group(row), []).append(after)
    lines = [Line("base, before training", None, [*base.values()])] if base else []
    lines += [Line(name, i, points) for i, (name, points) in enumerate(groups.items())]
    return lines, {place[count]: str(count) for count in counts}


def _group(row: RunRow) -> str:
    names = short_names(list(row.varied))
    parts = [f"{names[k]}={shown(v)}" for k, v in row.varied.items() if k not in NOT_A_LINE]
    return ", ".join(["trained", *parts])


def _point(
    row: RunRow, score: dict[str, Any] | None, part: str, x: float, phase: str
) -> Point | None:
    if score is None or part not in score:
        return None
    told = f"run {row.index}, {shots(row)} shots, {phase}: {percent(score[part])} %"
    ends = [100 * score[end] if part == "accuracy" else None for end in ("low", "high")]
    return Point(x, 100 * score[part], ends[0], ends[1], told)


def learning_curves(rows: Sequence[RunRow]) -> dict[str, list[Line]]:
    """A chart's lines for each metric that any run has logged, by its title."""
    logs = [(row, logged(row.directory)) for row in rows]
    present = [key for key in METRICS if any(key in record for _, log in logs for record in log)]
    most = max(8, POINTS // max(1, len(rows) * len(present)))
    return {
        METRICS[key]: [
            Line(f"run {row.index}: {row.label()}", place, _series(log, key, most), f"{row.index}")
            for place, (row, log) in enumerate(logs)
            if any(key in record for record in log)
        ]
        for key in present
    }


def logged(run: Path) -> list[dict[str, Any]]:
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


def _series(log: Sequence[dict[str, Any]], key: str, most: int) -> list[Point]:
    """At most `most` points, each the mean of as many neighbours."""
    found = [(r["step"], r[key]) for r in log if key in r and math.isfinite(r[key])]
    size = math.ceil(len(found) / most) or 1
    buckets = [found[start : start + size] for start in range(0, len(found), size)]
    means = [tuple(sum(v) / len(v) for v in zip(*bucket, strict=True)) for bucket in buckets]
    return [Point(x, y, told=f"step {number(x)}: {number(y)}") for x, y in means]
