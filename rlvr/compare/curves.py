"""The charts of a report: what its lines are, and the points on them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlvr.compare.logs import HealthWarning, looks, metrics
from rlvr.compare.recipes import SEED
from rlvr.compare.runs import RunRow, label
from rlvr.compare.svg import COLOURS, DASHES, Flag, Line, Point
from rlvr.formatting import number, percent

METRICS = {
    "reward/total": "reward",
    "eval/reward/total": "reward on validation questions",
    "validation/accuracy": "accuracy on validation questions",
    "health/accuracy": "share of right rollouts",
    "train/length_mean": "tokens a completion",
    "train/entropy": "entropy (nats a token)",
}
POINTS = 3_000  # of all learning curves together
FLAGGED = ("reward/total", "health/accuracy")  # whose charts show health warnings
ONE_CHART = 7  # runs that one chart can show well
CHARTS = 6  # of one metric, at most
LINES = 14  # of one chart, at most
SHOTS = ("shots", "dataset.num_shots")


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
            groups.setdefault(_settings(row, [*SHOTS, SEED]), []).append(after)
    lines = [Line("base, before training", None, [*base.values()])] if base else []
    lines += [
        Line(f"trained, {name}" if name else "trained", place, points)
        for place, (name, points) in enumerate(groups.items())
    ]
    return lines, {place[count]: str(count) for count in counts}


def _point(
    row: RunRow, score: dict[str, Any] | None, part: str, x: float, phase: str
) -> Point | None:
    if score is None or part not in score:
        return None
    told = f"run {row.index}, {shots(row)} shots, {phase}: {percent(score[part])} %"
    ends = [100 * score[end] if part == "accuracy" else None for end in ("low", "high")]
    return Point(x, 100 * score[part], ends[0], ends[1], told)


@dataclass(frozen=True)
class Panel:
    """One chart of learning curves. `span` is the range of y that all charts of a metric share."""

    title: str
    lines: Sequence[Line]
    span: tuple[float, float]


def learning_curves(
    rows: Sequence[RunRow], warnings: Sequence[HealthWarning] = ()
) -> dict[str, list[Panel]]:
    """The charts of each metric that any of `rows`, the best first, has logged, by its title.

    Many runs get a chart for each number of shots. Warnings are numbered as they come.
    """
    charts = _charts(rows)
    drawn = [row for _, chart in charts for row in chart]
    logs = {row.index: metrics(row.directory) + looks(row.directory) for row in drawn}
    styles = _styles(drawn, by_shots=len(charts) > 1)
    present = [key for key in METRICS if any(key in r for log in logs.values() for r in log)]
    most = max(8, POINTS // max(1, len(logs) * len(present)))
    found = {}
    for key in present:
        lines = {
            run: Line(*styles[run], points, f"{run}", _flags(run, key, warnings))
            for run, log in logs.items()
            if (points := _series(log, key, most))
        }
        found[METRICS[key]] = _panels(charts, lines)
    return {title: panels for title, panels in found.items() if panels}


def _charts(rows: Sequence[RunRow]) -> list[tuple[str, list[RunRow]]]:
    """The runs of each chart, and its title."""
    counts = sorted({count for row in rows if (count := shots(row)) is not None})
    if len(rows) <= ONE_CHART or not 1 < len(counts) <= CHARTS:
        return [("", _in_order(rows[:LINES]))]
    each = [[row for row in rows if shots(row) == count] for count in counts]
    return [
        (f"{count} shots", _in_order(runs[:LINES]))
        for count, runs in zip(counts, each, strict=True)
    ]


def _in_order(rows: Sequence[RunRow]) -> list[RunRow]:
    return sorted(rows, key=lambda row: row.index)


def _styles(rows: Sequence[RunRow], *, by_shots: bool) -> dict[int, tuple[str, int]]:
    """Label and place of each run's line: a colour a recipe, the same in all charts, and dashes a
    seed, as long as there are enough of both."""
    hidden = SHOTS if by_shots else ()
    recipes = [_settings(row, [*hidden, SEED]) for row in rows]
    seeds = [str(row.varied.get(SEED)) for row in rows]
    colours, dashes = [*dict.fromkeys(recipes)], [*dict.fromkeys(seeds)]
    looks = [*dict.fromkeys(zip(recipes, seeds, strict=True))]
    enough = len(colours) <= COLOURS and len(dashes) <= len(DASHES)
    return {
        row.index: (
            _settings(row, hidden) if by_shots else f"run {row.index}: {row.label()}",
            colours.index(recipe) + COLOURS * dashes.index(seed)
            if enough
            else looks.index((recipe, seed)),
        )
        for row, recipe, seed in zip(rows, recipes, seeds, strict=True)
    }


def _settings(row: RunRow, hidden: Sequence[str]) -> str:
    return label({key: value for key, value in row.varied.items() if key not in hidden})


def _flags(run: int, key: str, warnings: Sequence[HealthWarning]) -> list[Flag]:
    """Marks at a run's warnings, with their numbers."""
    numbered = [(n, w) for n, w in enumerate(warnings, 1) if w.run == run and key in FLAGGED]
    return [Flag(w.step, f"{n}", f"warning {n}: run {run}, {w.steps}") for n, w in numbered]


def _panels(charts: Sequence[tuple[str, list[RunRow]]], lines: dict[int, Line]) -> list[Panel]:
    ys = [point.y for line in lines.values() for point in line.points]
    drawn = [(title, [lines[r.index] for r in runs if r.index in lines]) for title, runs in charts]
    return [Panel(title, found, (min(ys), max(ys))) for title, found in drawn if found]


def _series(log: Sequence[dict[str, Any]], key: str, most: int) -> list[Point]:
    """At most `most` points, each the mean of as many neighbours."""
    found = [(r["step"], r[key]) for r in log if key in r and math.isfinite(r[key])]
    size = math.ceil(len(found) / most) or 1
    buckets = [found[start : start + size] for start in range(0, len(found), size)]
    means = [tuple(sum(v) / len(v) for v in zip(*bucket, strict=True)) for bucket in buckets]
    return [Point(x, y, told=f"step {number(x)}: {number(y)}") for x, y in means]
