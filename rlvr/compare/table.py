"""A comparison as a table: its columns, what they leave open, and how a terminal shows it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from rlvr.compare.comparison import Comparison
from rlvr.compare.names import short_names, shown
from rlvr.compare.recipes import Recipe
from rlvr.compare.runs import RunRow
from rlvr.compare.verdict import LISTED, format_changed
from rlvr.formatting import duration, p_value, percent

if TYPE_CHECKING:
    from rich.table import Table

BEST = "★"
NONE = "-"
TRAINED = "trained [95 % CI]"
SETTINGS = "settings"  # in one column, where the terminal is too narrow for one each
ENDED_BADLY = ("failed", "killed", "lost")
STYLES = {"failed": "bold red", "lost": "bold red", "killed": "yellow"}
EXPENDABLE = ("cost $", "time", "form %", "right of form %", "points", "base %", "seeds")
Column = tuple[str, Callable[[Recipe], str]]


def columns(comparison: Comparison) -> list[Column]:
    """Header and cell of each column that has something to say. Shares are in percent."""
    recipes = comparison.recipes
    best = comparison.best if len(recipes) > 1 else None
    found: list[Column] = [
        ("run", lambda recipe: f"{BEST} {recipe.numbers}" if recipe is best else recipe.numbers)
    ]
    if len(comparison.origins) > 1 and comparison.keys:
        found.append(("from", lambda recipe: _origins(comparison, recipe)))
    return [
        *found,
        *_settings(comparison),
        *_scores(recipes),
        *_tests(comparison),
        *_spent(recipes),
    ]


def _settings(comparison: Comparison) -> list[Column]:
    """A seed is one where a recipe has several; it is in `seeds` then."""
    keys = [key for key in comparison.keys if any(key in r.varied for r in comparison.recipes)]
    if not keys:
        return [("name", lambda recipe: ", ".join(run.name for run in recipe.runs))]
    names = short_names(keys)
    return [(names[key], _setting(key)) for key in keys]


def _setting(key: str) -> Callable[[Recipe], str]:
    return lambda recipe: shown(recipe.varied[key]) if key in recipe.varied else NONE


def _scores(recipes: list[Recipe]) -> list[Column]:
    found: list[Column] = []
    if any(recipe.base for recipe in recipes):
        found.append(("base %", lambda r: percent(r.base["accuracy"]) if r.base else NONE))
    if any(recipe.trained for recipe in recipes):
        found.append((TRAINED, _trained))
    elif any(recipe.score is not None for recipe in recipes):
        found.append(("value", lambda r: r.state if r.score is None else shown(r.score)))
    else:
        found.append(("state", lambda recipe: recipe.state))
    if any(len(recipe.runs) > 1 for recipe in recipes):
        found.append(("seeds", _seeds))
    if any(recipe.points is not None for recipe in recipes):
        found.append(("points", lambda r: NONE if r.points is None else f"{r.points:+.1f}"))
    if any(map(format_changed, recipes)):
        found.append(("form %", lambda recipe: _before_after(recipe, "format_rate")))
        found.append(("right of form %", lambda r: _before_after(r, "well_formed_accuracy")))
    return found


def _trained(recipe: Recipe) -> str:
    score = recipe.trained
    if not score:
        return NONE if recipe.state == "finished" else recipe.state
    low, high = percent(score["low"]), percent(score["high"])
    return f"{percent(score['accuracy'])} [{low:>4}, {high:>4}]"


def _seeds(recipe: Recipe) -> str:
    """How many, and how far apart: `3: 85.5-88.0`; `2 of 3` where not all have a score."""
    found = [run.trained["accuracy"] for run in recipe.runs if run.trained]
    count = (
        f"{len(found)}" if len(found) == len(recipe.runs) else f"{len(found)} of {len(recipe.runs)}"
    )
    return f"{count}: {percent(min(found))}-{percent(max(found))}" if len(found) > 1 else count


def _before_after(recipe: Recipe, part: str) -> str:
    """`31 → 98`, base and trained in percent."""
    known = [score.get(part) if score else None for score in (recipe.base, recipe.trained)]
    return " → ".join(NONE if share is None else f"{100 * share:.0f}" for share in known)


def _tests(comparison: Comparison) -> list[Column]:
    found: list[Column] = []
    if gains := comparison.gain_p_values:
        found.append(("p", lambda r: p_value(gains[r.index]) if r.index in gains else NONE))
    if rivals := comparison.rivals:
        behind = {r.recipe.index: f"{-100 * r.difference.mean:+.1f}" for r in rivals}
        chance = {r.recipe.index: p_value(r.p_value) for r in rivals}
        found.append((f"vs {BEST}", lambda recipe: behind.get(recipe.index, NONE)))
        found.append((f"p vs {BEST}", lambda recipe: chance.get(recipe.index, NONE)))
    return found


def _spent(recipes: list[Recipe]) -> list[Column]:
    """Of all runs of a recipe together."""
    found: list[Column] = []
    if any(_sum(recipe, "seconds") for recipe in recipes):
        found.append(("time", lambda r: NONE if (s := _sum(r, "seconds")) is None else duration(s)))
    if any(_sum(recipe, "cost") is not None for recipe in recipes):
        found.append(("cost $", lambda r: NONE if (c := _sum(r, "cost")) is None else f"{c:.2f}"))
    return found


def _sum(recipe: Recipe, part: str) -> float | None:
    known = [getattr(run.result, part) for run in recipe.runs if run.result]
    known = [value for value in known if value is not None]
    return sum(known) if known else None


def _origins(comparison: Comparison, recipe: Recipe) -> str:
    places = {comparison.origins.index(run.origin) for run in recipe.runs}
    return ", ".join(_letter(place) for place in sorted(places))


def _letter(place: int) -> str:
    """A to Z, then AA."""
    return (_letter(place // 26 - 1) if place >= 26 else "") + chr(65 + place % 26)


def notes(comparison: Comparison) -> list[str]:
    """How the numbers were found, where runs are from, why runs have no numbers."""
    recipes, rivals = comparison.recipes, comparison.rivals
    several = any(len(recipe.runs) > 1 for recipe in recipes)
    test = "exact McNemar test" + (", Student's t over questions and seeds" if several else "")
    lines = []
    if several:
        lines.append(
            "seeds: mean of the runs that differ in their seed alone, its 95 % interval over "
            "questions and seeds, the lowest and the highest run"
        )
    if gains := comparison.gain_p_values:
        many = f", corrected for {len(gains)} recipes (Holm)" if len(gains) > 1 else ""
        lines.append(f"p: {test}, trained against base on the same questions{many}")
    if rivals:
        trained = len([recipe for recipe in recipes if recipe.trained])
        near = f"the {len(rivals)} next best " if len(rivals) < trained - 1 else ""
        lines.append(
            f"vs {BEST}: points against the best, {near}on the same questions; its p likewise, "
            f"corrected for all {trained * (trained - 1) // 2} pairs (Holm)"
        )
    if len(comparison.origins) > 1 and comparison.keys:
        lines += [f"{_letter(i)}: {origin}" for i, origin in enumerate(comparison.origins)]
    badly = [row for row in comparison.rows if row.state in ENDED_BADLY]
    lines += [f"run {r.index} ({r.label()}) {r.state}: {reason(r)}" for r in badly[:LISTED]]
    if len(badly) > LISTED:
        lines.append(f"and {len(badly) - LISTED} more ended without a result")
    return lines


def reason(row: RunRow) -> str:
    """One line on why a run has no result."""
    text = row.error or (row.result.error if row.result else None) or ""
    first = text.strip().partition("\n")[0]
    unsaid = {"lost": "its process is gone and left no result", "killed": "it was stopped"}
    return first[:300] or unsaid.get(row.state, "no reason known")


def rich_table(comparison: Comparison, width: int) -> "tuple[Table, list[str]]":
    """The table, and the headers of the columns that `width` has no room for.

    Settings are never left out: where they alone are too wide they share a column, on several
    lines if they must.
    """
    found, dropped = columns(comparison), []
    for header in EXPENDABLE:
        if _width(found, comparison.recipes) <= width:
            break
        if header in (h for h, _ in found):
            found = [column for column in found if column[0] != header]
            dropped.append(header)
    if _width(found, comparison.recipes) > width:
        own = [header for header, _ in _settings(comparison)]
        place = next(i for i, (header, _) in enumerate(found) if header in own)
        found = [column for column in found if column[0] not in own]
        found.insert(place, (SETTINGS, lambda recipe: recipe.label()))
    return _draw(comparison, found), dropped


def _width(found: list[Column], recipes: list[Recipe]) -> int:
    """How many characters wide the table is."""
    widths = [max(len(header), *(len(cell(r)) for r in recipes)) for header, cell in found]
    return sum(widths) + 2 * len(found)


def _draw(comparison: Comparison, found: list[Column]) -> "Table":
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        title=escape(comparison.title()),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1),
        collapse_padding=True,
        pad_edge=False,
    )
    for header, cell in found:
        texts = [cell(recipe) for recipe in comparison.recipes]
        right = all(text[:1] in f"{BEST}+-<0123456789" for text in texts) and header != "name"
        justify: Literal["left", "right"] = "right" if right or header == TRAINED else "left"
        folds = header in ("name", SETTINGS)
        table.add_column(escape(header), justify=justify, no_wrap=not folds, overflow="fold")
    for recipe in comparison.recipes:
        table.add_row(*(_cell(header, cell(recipe), recipe, comparison) for header, cell in found))
    return table


def _cell(header: str, text: str, recipe: Recipe, comparison: Comparison) -> str:
    from rich.markup import escape

    best = recipe is comparison.best and len(comparison.recipes) > 1
    style = "bold green" if best and header in ("run", TRAINED) else ""
    if text == recipe.state:
        style = STYLES.get(recipe.state, "")
    return f"[{style}]{escape(text)}[/]" if style else escape(text)
