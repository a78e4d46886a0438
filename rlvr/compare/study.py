"""How Optuna searched: the charts of a report, from the `study.json` that the sweep has left."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr.compare.names import short_names
from rlvr.compare.svg import Line, Point
from rlvr.formatting import number, percent
from rlvr.sweep import study_record

PLACES = {"complete": 0, "pruned": 1}  # colours of the points, and of the best so far 2


@dataclass(frozen=True)
class Chart:
    """`x_names` are the ticks of an axis that is not plain numbers."""

    title: str
    x_label: str
    lines: list[Line]
    x_names: dict[float, str] | None = None


def search(directory: Path) -> dict[str, Any] | None:
    """History and slices of a sweep's study, and the importances of its settings; None without."""
    study = study_record.read(directory)
    if study is None or not any(trial["value"] is not None for trial in study["trials"]):
        return None
    keys = dict.fromkeys(key for trial in study["trials"] for key in trial["params"])
    names = short_names(list(keys))
    importances = sorted(study["importances"].items(), key=lambda item: -item[1])
    return {
        "study": study,
        "charts": [_history(study), *(_slice(study, key, names[key]) for key in keys)],
        "importances": [(names[key], share) for key, share in importances],
    }


def _history(study: dict[str, Any]) -> Chart:
    """Each trial's value, and the best so far."""
    better = max if study["direction"] == "maximize" else min
    best: list[Point] = []
    for trial in study["trials"]:
        if trial["value"] is not None:
            y = better([100 * trial["value"], *(point.y for point in best[-1:])])
            best.append(Point(trial["number"], y, told=f"best so far {y:.1f} %"))
    points = _points(study, [float(trial["number"]) for trial in study["trials"]])
    return Chart("Trials in their order", "trial", [*points, Line("best so far", 2, best)])


def _slice(study: dict[str, Any], key: str, name: str) -> Chart:
    """Value against one setting, whatever the others were."""
    values = [trial["params"].get(key) for trial in study["trials"]]
    known = [value for value in values if value is not None]
    if not all(isinstance(value, int | float) for value in known):
        place = {str(value): float(i) for i, value in enumerate(dict.fromkeys(known))}
        xs = [None if value is None else place[str(value)] for value in values]
        return Chart(name, name, _points(study, xs), {at: text for text, at in place.items()})
    if key not in study["logarithmic"]:
        return Chart(name, name, _points(study, values))
    xs = [None if value is None else math.log10(value) for value in values]
    placed = [x for x in xs if x is not None]
    decades = range(math.floor(min(placed)), math.ceil(max(placed)) + 1)
    return Chart(name, name, _points(study, xs), {x: number(10.0**x) for x in decades})


def _points(study: dict[str, Any], xs: Sequence[float | None]) -> list[Line]:
    """Of trials trained to their end the value, of pruned ones what they had reached."""
    found: dict[str, list[Point]] = {state: [] for state in PLACES}
    for trial, x in zip(study["trials"], xs, strict=True):
        reached = [trial["value"]] if trial["value"] is not None else trial["last"]
        if x is not None and trial["state"] in found and reached:
            told = f"trial {trial['number']}, {trial['state']}: {percent(reached[0])} %"
            found[trial["state"]].append(Point(x, 100 * reached[0], told=told))
    labels = {"complete": "trained to its end", "pruned": "pruned, on validation questions"}
    return [
        Line(labels[state], PLACES[state], points, joined=False)
        for state, points in found.items()
        if points
    ]
