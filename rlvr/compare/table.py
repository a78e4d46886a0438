"""A comparison as a table: its columns, what they leave open, and how a terminal shows it."""

from collections.abc import Callable
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from rlvr.compare.comparison import Comparison
from rlvr.compare.names import short_names, shown, without_shared_start
from rlvr.compare.recipes import Recipe
from rlvr.compare.runs import RunRow
from rlvr.compare.verdict import LISTED, format_changed
from rlvr.formatting import duration, p_value, percent

if TYPE_CHECKING:
    from rich.table import Table

BEST = "★"
NONE = "-"
TRAINED = "trained [95 % CI]"
PASS = "pass@"
FROM = "from"
SETTINGS = "settings"  # in one column, where the terminal is too narrow for one each
UNSAFE = "none"  # the sandbox of a run that executed a model's code without one
PRUNED = "pruned"
WITHOUT_SCORE = ("failed", "killed", "lost", PRUNED)
STYLES = {"failed": "bold red", "lost": "bold red", "killed": "yellow", PRUNED: "yellow"}
LAST_LOOK = "‡"  # marks a share of validation questions, which no other is compared with
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
        found.append((FROM, lambda recipe: _origins(comparison, recipe)))
    return [
        *found,
        *_settings(comparison),
        *_scores(recipes),
        *_tests(comparison),
        *_spent(recipes),
    ]


def _settings(comparison: Comparison, *, shortened: bool = False) -> list[Column]:
    """A seed is one where a recipe has several; it is in `seeds` then."""
    recipes = comparison.recipes
    keys = [key for key in comparison.keys if any(key in r.varied for r in recipes)]
    if not keys:
        return [("name", _label)]
    found: list[Column] = []
    for key, name in short_names(keys).items():
        texts = [shown(r.varied[key]) if key in r.varied else NONE for r in recipes]
        texts = without_shared_start(texts) if shortened else texts
        cells = {recipe.index: text for recipe, text in zip(recipes, texts, strict=True)}
        found.append((name, _cell_of(cells)))
    return found


def _cell_of(cells: dict[int, str]) -> Callable[[Recipe], str]:
    return lambda recipe: cells.get(recipe.index, NONE)


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
    if (k := _most_samples(recipes)) != "1":
        found.append((f"{PASS}{k} %", lambda recipe: _before_after(recipe, k)))
    if any(map(format_changed, recipes)):
        found.append(("form %", lambda recipe: _before_after(recipe, "format_rate")))
        found.append(("right of form %", lambda r: _before_after(r, "well_formed_accuracy")))
    return found


def _trained(recipe: Recipe) -> str:
    score = recipe.trained
    if not score:
        return NONE if recipe.state == "finished" else _unscored(recipe)
    low, high = percent(score["low"]), percent(score["high"])
    return f"{percent(score['accuracy'])} [{low:>4}, {high:>4}]"


def _unscored(recipe: Recipe) -> str:
    """Its state; of one that was pruned also what it had reached: `pruned 12.5 ‡`."""
    looks = [run.pruned["look"] for run in recipe.runs if run.pruned]
    last = f" {percent(fmean(look['accuracy'] for look in looks))} {LAST_LOOK}" if looks else ""
    return recipe.state + last


def _seeds(recipe: Recipe) -> str:
    """How many, and their standard deviation: `3 ±1.2`; `2 of 3` where not all have a score."""
    scored, runs = sum(run.trained is not None for run in recipe.runs), len(recipe.runs)
    count = f"{runs}" if scored == runs else f"{scored} of {runs}"
    if not recipe.trained or scored < 2:
        return count
    return f"{count} ±{percent(recipe.trained['deviation'])}"


def _most_samples(recipes: list[Recipe]) -> str:
    """The largest k of pass@k that any recipe has."""
    scores = [score for r in recipes for score in (r.base, r.trained) if score]
    return max((k for score in scores for k in score.get("pass_at_k", {})), key=int, default="1")


def _before_after(recipe: Recipe, part: str) -> str:
    """`31 → 98`, base and trained in percent."""
    known = [
        {**score, **score.get("pass_at_k", {})}.get(part) if score else None
        for score in (recipe.base, recipe.trained)
    ]
    return " → ".join(NONE if share is None else f"{100 * share:.0f}" for share in known)


def _tests(comparison: Comparison) -> list[Column]:
    found: list[Column] = []
    if gains := comparison.gain_p_values:
        found.append(("p", _cell_of({index: p_value(p) for index, p in gains.items()})))
    if rivals := comparison.rivals:
        behind = {r.recipe.index: f"{-100 * r.difference.mean:+.1f}" for r in rivals}
        chance = {r.recipe.index: p_value(r.p_value) for r in rivals}
        found += [(f"vs {BEST}", _cell_of(behind)), (f"p vs {BEST}", _cell_of(chance))]
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
            "seeds: mean and standard deviation of the runs that differ in their seed alone; "
            "the interval is of the mean, over questions and seeds"
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
    unscored = [row for row in comparison.rows if row.state in WITHOUT_SCORE]
    lines += [f"run {r.index} ({r.label()}) {r.state}: {reason(r)}" for r in unscored[:LISTED]]
    if len(unscored) > LISTED:
        lines.append(f"and {len(unscored) - LISTED} more ended without a result")
    lines += _of_pruned(recipes)
    unsafe = [
        row
        for row in comparison.rows
        if row.result and UNSAFE in (row.result.sandbox or "").split(", ")
    ]
    if unsafe:
        lines.insert(
            0,
            f"UNSAFE: {len(unsafe)} runs executed the model's code without a sandbox, so nothing "
            "kept it from their rewards and results",
        )
    return lines


def _of_pruned(recipes: list[Recipe]) -> list[str]:
    """What must not be read from the numbers where runs were ended early."""
    lines = []
    if any(not recipe.trained and _is_pruned(recipe) for recipe in recipes):
        lines.append(
            f"{LAST_LOOK}: of validation questions, when the run was ended; it is compared with "
            "nothing"
        )
    if flattered := [recipe.name for recipe in recipes if recipe.trained and _is_pruned(recipe)]:
        lines.append(
            f"{', '.join(flattered)}: seeds that did badly were pruned, so the mean of the others "
            "is too high"
        )
    return lines


def _is_pruned(recipe: Recipe) -> bool:
    return any(run.pruned for run in recipe.runs)


def reason(row: RunRow) -> str:
    """One line on why a run has no result."""
    text = row.error or (row.result.error if row.result else None) or ""
    first = text.strip().partition("\n")[0]
    unsaid = {"lost": "its process is gone and left no result", "killed": "it was stopped"}
    return first[:300] or unsaid.get(row.state, "no reason known")


def rich_table(comparison: Comparison, width: int) -> "tuple[Table, list[str]]":
    """The table, and the headers of the columns that `width` has no room for.

    Settings are never left out: where they alone are too wide they lose the beginning they share,
    or share a column, on several lines if they must.
    """
    recipes, found, dropped = comparison.recipes, columns(comparison), []
    wide = {header: _width([(header, cell)], recipes) for header, cell in found}
    passes = [header for header, _ in found if header.startswith(PASS)]
    for header in (*EXPENDABLE, *passes):
        if sum(wide.values()) > width and wide.pop(header, 0):
            dropped.append(header)
    found = [column for column in found if column[0] in wide]
    first, own = (2 if found[1][0] == FROM else 1), len(_settings(comparison))
    for settings in (_settings(comparison, shortened=True), [(SETTINGS, _label)]):
        if _width(found, recipes) > width:
            found[first : first + own], own = settings, len(settings)
    return _draw(comparison, found), dropped


def _label(recipe: Recipe) -> str:
    return recipe.label() or NONE


def _width(found: list[Column], recipes: list[Recipe]) -> int:
    """How many characters wide columns are."""
    return sum(2 + max(len(head), *(len(cell(r)) for r in recipes)) for head, cell in found)


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
    if text.startswith(recipe.state):
        style = STYLES.get(recipe.state, "")
    return f"[{style}]{escape(text)}[/]" if style else escape(text)
