"""The chart of a comparison: accuracy before and after training, with 95 % intervals."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr.compare.comparison import Comparison
from rlvr.compare.names import short_names, shown
from rlvr.compare.runs import RunRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito: told apart with every common colour vision.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
MARKERS = ("o", "s", "D", "^", "v", "P", "X")
BASE = "#7f7f7f"
SPACING = 6.0  # points (1/72 inch) between error bars that share an x value
LEAST_RATIO = 20  # an x axis whose values span more is logarithmic


@dataclass(frozen=True)
class Layout:
    """Which factor runs along x, and which tells the lines apart. `seed` makes repeats."""

    x: str | None
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Series:
    """Points of one line: x position, row and score, one point for each run."""

    label: str
    colour: str
    marker: str
    points: list[tuple[float, dict[str, Any]]]
    failed: list[float]

    def is_base(self) -> bool:
        return self.label.startswith("base")

    def by_x(self) -> dict[float, list[dict[str, Any]]]:
        """Scores at each x in ascending order: several where runs differ in their seed alone."""
        scores: dict[float, list[dict[str, Any]]] = {}
        for x, score in sorted(self.points, key=lambda point: point[0]):
            scores.setdefault(x, []).append(score)
        return scores

    def repeats(self) -> int:
        return max((len(scores) for scores in self.by_x().values()), default=1)


def draw(comparison: Comparison, path: Path) -> Path | None:
    """Write the PNG; None where no run has an accuracy yet."""
    if not any(row.base or row.trained for row in comparison.rows):
        return None
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # it tells of its font cache
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = choose_layout(comparison)
    engine = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
    figure = Figure(figsize=(8.0, 5.0), dpi=150, layout=engine)
    axes = figure.subplots()
    positions = _positions(comparison.rows, layout.x)
    lines = [*_base_series(comparison, layout, positions)]
    lines += _trained_series(comparison, layout, positions)
    room = SPACING * max(series.repeats() for series in lines)
    for number, series in enumerate(lines):
        offset = room * (number - (len(lines) - 1) / 2)
        if is_numeric(comparison.rows, layout.x):  # nothing lies between two names
            _join(axes, series, offset)
        _plot(axes, series, offset)
    _label(axes, comparison, layout, positions)
    figure.savefig(path)
    return path


def choose_layout(comparison: Comparison) -> Layout:
    """Shots along x if they vary, else the first factor that is a number, else the first."""
    rows = comparison.rows
    factors = [key for key in comparison.keys if key != "seed"]
    numeric = [key for key in factors if is_numeric(rows, key)]
    preferred = [key for key in ("shots", "dataset.num_shots") if key in factors]
    x = next(iter([*preferred, *numeric, *factors]), None)
    return Layout(x, tuple(key for key in factors if key != x))


def is_numeric(rows: list[RunRow], key: str | None) -> bool:
    values = [] if key is None else [row.varied[key] for row in rows]
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def is_logarithmic(values: Sequence[float]) -> bool:
    low, high = min(values), max(values)
    return low > 0 and (high / low > LEAST_RATIO or high < 0.1) and high > low


def _positions(rows: list[RunRow], key: str | None) -> dict[str, float]:
    """Where each value of the x factor stands: at itself if it is a number, else in order."""
    if key is None:
        return {"null": 0.0}
    values = {shown(row.varied[key]): row.varied[key] for row in rows}
    if is_numeric(rows, key):
        return {text: float(value) for text, value in values.items()}
    return {text: float(place) for place, text in enumerate(values)}


def _x(row: RunRow, layout: Layout, positions: dict[str, float]) -> float:
    return positions[shown(row.varied[layout.x]) if layout.x else "null"]


def _trained_series(
    comparison: Comparison, layout: Layout, positions: dict[str, float]
) -> list[Series]:
    groups = _groups(comparison, layout)
    return [
        Series(
            label=f"trained, {name}" if name else "trained",
            colour=COLOURS[number % len(COLOURS)],
            marker=_marker(number),
            points=[(_x(r, layout, positions), r.trained) for r in rows if r.trained],
            failed=[_x(r, layout, positions) for r in rows if _ended_without(r)],
        )
        for number, (name, rows) in enumerate(groups.items())
        if any(row.trained or _ended_without(row) for row in rows)
    ]


def _ended_without(row: RunRow) -> bool:
    return row.trained is None and row.state in ("failed", "killed", "lost")


def _base_series(
    comparison: Comparison, layout: Layout, positions: dict[str, float]
) -> list[Series]:
    """One grey line where the base model does not depend on the line's factor, else one a line."""
    scored = [(_x(row, layout, positions), row.base) for row in comparison.rows if row.base]
    if not scored:
        return []
    distinct = {(x, base["accuracy"], base["n"]): (x, base) for x, base in scored}
    if len(distinct) == len({x for x, _ in scored}):
        return [Series("base (before training)", BASE, "o", list(distinct.values()), [])]
    return [
        Series(
            label=f"base, {name}",
            colour=_faded(COLOURS[number % len(COLOURS)]),
            marker=_marker(number),
            points=[(_x(row, layout, positions), row.base) for row in rows if row.base],
            failed=[],
        )
        for number, (name, rows) in enumerate(_groups(comparison, layout).items())
        if any(row.base for row in rows)
    ]


def _marker(number: int) -> str:
    """Shifted by one each time the colours begin again, so that no two lines look alike."""
    return MARKERS[(number + number // len(COLOURS)) % len(MARKERS)]


def _faded(colour: str) -> str:
    """Halfway between a colour and light grey."""
    parts = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{(part + 0xC8) // 2:02x}" for part in parts)


def _groups(comparison: Comparison, layout: Layout) -> dict[str, list[RunRow]]:
    names = short_names(comparison.keys)
    groups: dict[str, list[RunRow]] = {}
    for row in comparison.rows:
        parts = [f"{names[key]} {shown(row.varied[key])}" for key in layout.lines]
        groups.setdefault(", ".join(parts), []).append(row)
    return groups


def _join(axes: "Axes", series: Series, offset: float) -> None:
    """A line through the mean at each x."""
    base = series.is_base()
    means = [
        (x, math.fsum(100 * score["accuracy"] for score in scores) / len(scores))
        for x, scores in series.by_x().items()
    ]
    axes.plot(
        [x for x, _ in means],
        [mean for _, mean in means],
        color=series.colour,
        linestyle="--" if base else "-",
        linewidth=1.6,
        alpha=0.8,
        zorder=2 if base else 3,
        transform=_aside(axes, offset),
    )


def _plot(axes: "Axes", series: Series, offset: float) -> None:
    """Points with error bars, moved aside by `offset`; repeats stand side by side."""
    style: dict[str, Any] = {"color": series.colour, "zorder": 2 if series.is_base() else 3}
    for repeat in range(series.repeats()):
        beside = SPACING * (repeat - (series.repeats() - 1) / 2)
        _plot_bars(
            axes,
            [(x, s[repeat]) for x, s in series.by_x().items() if repeat < len(s)],
            fmt=series.marker,
            markerfacecolor="white" if series.is_base() else series.colour,
            label=None if repeat else series.label,
            transform=_aside(axes, offset + beside),
            **style,
        )
    for x in series.failed:
        where = _aside(axes, offset)
        axes.plot(x, 0, "x", markersize=9, mew=2, clip_on=False, transform=where, **style)


def _plot_bars(axes: "Axes", points: list[tuple[float, dict[str, Any]]], **style: Any) -> None:
    shares = [(100 * s["accuracy"], 100 * s["low"], 100 * s["high"]) for _, s in points]
    axes.errorbar(
        [x for x, _ in points],
        [middle for middle, _, _ in shares],
        yerr=[[middle - low for middle, low, _ in shares], [high - m for m, _, high in shares]],
        markersize=6,
        markeredgewidth=1.4,
        elinewidth=1.4,
        capsize=3,
        clip_on=False,
        **style,
    )


def _aside(axes: "Axes", points: float) -> Any:
    """Data coordinates moved right by so many points, on linear and logarithmic axes alike."""
    from matplotlib.transforms import ScaledTranslation

    return axes.transData + ScaledTranslation(points / 72, 0, axes.figure.dpi_scale_trans)


def _label(
    axes: "Axes", comparison: Comparison, layout: Layout, positions: dict[str, float]
) -> None:
    axes.set_title(comparison.title(), loc="left", fontsize=12, fontweight="bold", pad=12)
    axes.set_ylabel("accuracy, % of questions")
    axes.set_ylim(0, 100)
    axes.yaxis.set_major_locator(_every(20))
    axes.grid(axis="y", color="#e0e0e0", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    _label_x(axes, comparison, layout, positions)
    failed = any(_ended_without(row) for row in comparison.rows)
    axes.figure.legend(
        loc="outside lower center",
        ncols=3,
        frameon=False,
        fontsize=9,
        title="bars: 95 % Wilson intervals" + ("; x: no result" if failed else ""),
        title_fontsize=9,
    )


def _every(step: float) -> Any:
    from matplotlib.ticker import MultipleLocator

    return MultipleLocator(step)


def _label_x(
    axes: "Axes", comparison: Comparison, layout: Layout, positions: dict[str, float]
) -> None:
    from matplotlib.ticker import NullLocator

    places = list(positions.values())
    if layout.x is None:
        axes.set_xlim(-1, 1)
        axes.set_xticks([0.0], [comparison.rows[0].label() if len(comparison.rows) == 1 else ""])
        return
    logarithmic = is_numeric(comparison.rows, layout.x) and is_logarithmic(places)
    if logarithmic:
        axes.set_xscale("log")
        axes.set_xlim(min(places) / 1.6, max(places) * 1.6)
    else:
        room = 0.12 * (max(places) - min(places)) or 1.0
        axes.set_xlim(min(places) - room, max(places) + room)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(places, list(positions))
    names = {"shots": "shots (solved exemplars in the prompt)"}
    name = names.get(layout.x, layout.x.rpartition(".")[2].replace("_", " "))
    axes.set_xlabel(f"{name}, logarithmic" if logarithmic else name)
