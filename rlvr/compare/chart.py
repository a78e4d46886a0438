"""The chart of a comparison: accuracy before and after training, with 95 % intervals."""

import logging
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from rlvr.compare.comparison import Comparison
from rlvr.compare.names import short_names, shown, without_shared_start
from rlvr.compare.recipes import SEED, Recipe
from rlvr.compare.table import WITHOUT_SCORE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito: told apart with every common colour vision.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
MARKERS = ("o", "s", "D", "^", "v", "P", "X")
BASE = "#7f7f7f"
SPREAD = 48.0  # points (1/72 inch) over which the error bars that share an x value lie, at most
SPACING = 6.0  # points between two of them, at most
LEAST_RATIO = 20  # an x axis whose values span more is logarithmic
LINES = 12  # of trained models, the best ones
TICKS = 12  # on the x axis
ROW = 60  # characters of a legend that fits into one row
COLUMN = 26  # characters of a line in a legend beside the axes
TICK_ROW = 88  # characters of tick labels side by side


@dataclass(frozen=True)
class Layout:
    """Which factor runs along x, and which tell the lines apart."""

    x: str | None
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Series:
    """Points of one line: x position, score, and accuracies of the single seeds."""

    label: str
    colour: str
    marker: str
    points: list[tuple[float, dict[str, Any]]]
    failed: list[float]
    base: bool = False


def draw(comparison: Comparison, path: Path) -> Path | None:
    """Write the PNG; None where no run has an accuracy yet."""
    if not any(recipe.base or recipe.trained for recipe in comparison.recipes):
        return None
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # it tells of its font cache
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    engine = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
    figure = Figure(figsize=(8.0, 5.0), dpi=150, layout=engine)
    axes = figure.subplots()
    layout = choose_layout(comparison)
    if layout.x is None:
        _draw_one(axes, comparison.recipes)
    else:
        _draw_lines(axes, comparison, layout)
    _label(axes, comparison)
    figure.savefig(path)
    return path


def _draw_one(axes: "Axes", recipes: Sequence[Recipe]) -> None:
    """Of one recipe, before beside after. What equals it in all settings stands there too."""
    for place, (phase, colour) in enumerate((("base", BASE), ("trained", COLOURS[0]))):
        scores = [score for recipe in recipes if (score := getattr(recipe, phase))]
        points = [(float(place), score) for score in scores]
        _plot(axes, Series(phase, colour, "o", points, [], phase == "base"), 0.0)
        for x, score in points:
            text = f"{100 * score['accuracy']:.1f}"
            axes.annotate(text, (x, 100 * score["accuracy"]), (12, -4), textcoords="offset points")
    axes.set_xlim(-0.6, 1.6)
    axes.set_xticks([0.0, 1.0], ["before training", "after training"])
    labels = {recipe.label(): None for recipe in recipes}
    axes.set_xlabel("\n".join(textwrap.wrap(", ".join(filter(None, labels)), TICK_ROW)))


def _draw_lines(axes: "Axes", comparison: Comparison, layout: Layout) -> None:
    assert layout.x
    positions = _positions(comparison.recipes, layout.x)
    groups = _groups(comparison, layout)
    best = sorted(groups, key=lambda name: -max((r.score or 0.0) for r in groups[name]))[:LINES]
    kept = {name: recipes for name, recipes in groups.items() if name in best}
    lines = _base_series(kept, layout, positions) + _trained_series(kept, layout, positions)
    room = min(SPACING, SPREAD / len(lines))
    for number, series in enumerate(lines):
        offset = room * (number - (len(lines) - 1) / 2)
        if is_numeric(comparison.recipes, layout.x):  # nothing lies between two names
            _join(axes, series, offset)
        _plot(axes, series, offset)
    _label_x(axes, comparison.recipes, layout.x, positions)
    names = short_names(comparison.keys)
    title = ", ".join(names[key] for key in layout.lines)
    more = f"\nthe best {LINES} of {len(groups)}" if len(groups) > len(kept) else ""
    failed = any(series.failed for series in lines)
    _legend(axes, lines, title + more + ("\nx: no result" if failed else ""))


def choose_layout(comparison: Comparison) -> Layout:
    """Shots along x if they vary, else the first factor that is a number, else the first."""
    factors = [key for key in comparison.keys if key != SEED]
    numeric = [key for key in factors if is_numeric(comparison.recipes, key)]
    preferred = [key for key in ("shots", "dataset.num_shots") if key in factors]
    x = next(iter([*preferred, *numeric, *factors]), None)
    return Layout(x, tuple(key for key in factors if key != x))


def is_numeric(recipes: Sequence[Recipe], key: str) -> bool:
    values = [recipe.varied[key] for recipe in recipes]
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def is_logarithmic(values: Sequence[float]) -> bool:
    low, high = min(values), max(values)
    return low > 0 and (high / low > LEAST_RATIO or high < 0.1) and high > low


def _positions(recipes: Sequence[Recipe], key: str) -> dict[str, float]:
    """Where each value of the x factor stands: at itself if it is a number, else in order."""
    values = {shown(recipe.varied[key]): recipe.varied[key] for recipe in recipes}
    if is_numeric(recipes, key):
        return {text: float(value) for text, value in values.items()}
    return {text: float(place) for place, text in enumerate(values)}


def _groups(comparison: Comparison, layout: Layout) -> dict[str, list[Recipe]]:
    """Recipes by the name of their line."""
    columns = [
        without_shared_start([shown(recipe.varied[key]) for recipe in comparison.recipes])
        for key in layout.lines
    ]
    groups: dict[str, list[Recipe]] = {}
    for place, recipe in enumerate(comparison.recipes):
        groups.setdefault(", ".join(column[place] for column in columns), []).append(recipe)
    return groups


def _trained_series(
    groups: dict[str, list[Recipe]], layout: Layout, positions: dict[str, float]
) -> list[Series]:
    return [
        Series(
            label=name or "trained",
            colour=COLOURS[number % len(COLOURS)],
            marker=_marker(number),
            points=[(_x(r, layout, positions), r.trained) for r in recipes if r.trained],
            failed=[_x(r, layout, positions) for r in recipes if _ended_without(r)],
        )
        for number, (name, recipes) in enumerate(groups.items())
        if any(recipe.trained or _ended_without(recipe) for recipe in recipes)
    ]


def _x(recipe: Recipe, layout: Layout, positions: dict[str, float]) -> float:
    assert layout.x
    return positions[shown(recipe.varied[layout.x])]


def _ended_without(recipe: Recipe) -> bool:
    return recipe.trained is None and any(run.state in WITHOUT_SCORE for run in recipe.runs)


def _base_series(
    groups: dict[str, list[Recipe]], layout: Layout, positions: dict[str, float]
) -> list[Series]:
    """One grey line where the base model does not depend on the line's factor, else one a line."""
    points = {
        name: [(_x(recipe, layout, positions), recipe.base) for recipe in recipes if recipe.base]
        for name, recipes in groups.items()
    }
    distinct = {(x, b["accuracy"], b["n"]): (x, b) for found in points.values() for x, b in found}
    if not distinct or len(distinct) == len({x for x, *_ in distinct}):
        return (
            [Series("base", BASE, "o", list(distinct.values()), [], base=True)] if distinct else []
        )
    return [
        Series(
            label=f"{name} (base)",
            colour=_faded(COLOURS[number % len(COLOURS)]),
            marker=_marker(number),
            points=found,
            failed=[],
            base=True,
        )
        for number, (name, found) in enumerate(points.items())
        if found
    ]


def _marker(number: int) -> str:
    """Shifted by one each time the colours begin again, so that no two lines look alike."""
    return MARKERS[(number + number // len(COLOURS)) % len(MARKERS)]


def _faded(colour: str) -> str:
    """Halfway between a colour and light grey."""
    parts = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{(part + 0xC8) // 2:02x}" for part in parts)


def _join(axes: "Axes", series: Series, offset: float) -> None:
    """A line through the mean at each x."""
    means = {
        x: fmean(100 * score["accuracy"] for at, score in series.points if at == x)
        for x in sorted({x for x, _ in series.points})
    }
    axes.plot(
        list(means),
        list(means.values()),
        color=series.colour,
        linestyle="--" if series.base else "-",
        linewidth=1.6,
        alpha=0.8,
        zorder=2 if series.base else 3,
        transform=_aside(axes, offset),
    )


def _plot(axes: "Axes", series: Series, offset: float) -> None:
    """Points with error bars, moved aside by `offset`; small ones are single seeds."""
    where = _aside(axes, offset)
    style: dict[str, Any] = {"color": series.colour, "zorder": 2 if series.base else 3}
    shares = [(100 * s["accuracy"], 100 * s["low"], 100 * s["high"]) for _, s in series.points]
    axes.errorbar(
        [x for x, _ in series.points],
        [middle for middle, _, _ in shares],
        yerr=[[middle - low for middle, low, _ in shares], [high - m for m, _, high in shares]],
        fmt=series.marker,
        markerfacecolor="white" if series.base else series.colour,
        label=series.label,
        markersize=6,
        markeredgewidth=1.4,
        elinewidth=1.4,
        capsize=3,
        clip_on=False,
        transform=where,
        **style,
    )
    singles = [(x, 100 * a) for x, score in series.points for a in score.get("accuracies", ())]
    xs, ys = [x for x, _ in singles], [y for _, y in singles]
    beside = _aside(axes, offset + 3)
    axes.plot(xs, ys, ".", markersize=4, alpha=0.6, clip_on=False, transform=beside, **style)
    for x in series.failed:
        axes.plot(x, 0, "x", markersize=9, mew=2, clip_on=False, transform=where, **style)


def _aside(axes: "Axes", points: float) -> Any:
    """Data coordinates moved right by so many points, on linear and logarithmic axes alike."""
    from matplotlib.transforms import ScaledTranslation

    return axes.transData + ScaledTranslation(points / 72, 0, axes.figure.dpi_scale_trans)


def _label(axes: "Axes", comparison: Comparison) -> None:
    from matplotlib.ticker import MultipleLocator

    title = "\n".join(textwrap.wrap(comparison.title(), 72))
    beneath = 28 if axes.get_legend() else 12  # points
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold", pad=beneath)
    axes.set_ylabel("accuracy, % (bars: 95 % interval)")
    axes.set_ylim(0, 100)
    axes.yaxis.set_major_locator(MultipleLocator(20))
    axes.grid(axis="y", color="#e0e0e0", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _label_x(
    axes: "Axes", recipes: Sequence[Recipe], key: str, positions: dict[str, float]
) -> None:
    from matplotlib.ticker import NullLocator

    places, numeric = list(positions.values()), is_numeric(recipes, key)
    logarithmic = numeric and is_logarithmic(places)
    if logarithmic:
        axes.set_xscale("log")
        axes.set_xlim(min(places) / 1.6, max(places) * 1.6)
    else:
        room = 0.12 * (max(places) - min(places)) or 1.0
        axes.set_xlim(min(places) - room, max(places) + room)
    axes.xaxis.set_minor_locator(NullLocator())
    every = -(-len(places) // TICKS)
    labels = dict(zip(places, without_shared_start(list(positions)), strict=True))
    ticks = sorted(places)[::every]
    width = TICK_ROW // len(ticks) - 2
    axes.set_xticks(ticks, [_wrapped(labels[place], width) for place in ticks])
    names = {"shots": "shots (solved exemplars in the prompt)"}
    name = names.get(key, key.rpartition(".")[2].replace("_", " "))
    axes.set_xlabel(f"{name}, logarithmic" if logarithmic else name)


def _wrapped(text: str, width: int) -> str:
    """Lines of at most `width` characters, broken behind a mark where there is one."""
    spaced = text.replace("_", "_ ").replace("-", "- ").replace("/", "/ ")
    if len(text) <= width:
        return text
    return "\n".join(
        line.replace("_ ", "_").replace("- ", "-").replace("/ ", "/")
        for line in textwrap.wrap(spaced, width)
    )


def _legend(axes: "Axes", lines: Sequence[Series], title: str) -> None:
    """In a row below the title where it fits into one, else in a column beside the axes."""
    labels = [series.label for series in lines]
    handles, _ = axes.get_legend_handles_labels()
    style: dict[str, Any] = {"frameon": False, "fontsize": 9, "title_fontsize": 9}
    if "\n" not in title and len(labels) * (4 + len(title)) + sum(map(len, labels)) <= ROW:
        named = [
            label if label.startswith("base") else f"{title} {label}".strip() for label in labels
        ]
        axes.legend(handles, named, loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=9, **style)
        return
    labels, title = [_wrapped(label, COLUMN) for label in labels], _wrapped(title, COLUMN)
    axes.figure.legend(
        handles, labels, title=title, loc="outside right upper", alignment="left", **style
    )
