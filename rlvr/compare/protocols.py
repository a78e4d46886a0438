"""Recipes under each rule of `eval.protocols`, and gains that are not there under every one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rlvr.compare.comparison import Comparison
from rlvr.compare.recipes import Recipe
from rlvr.evaluation.run_summary import OTHER_FORM
from rlvr.evaluation.tasks import PROTOCOL
from rlvr.formatting import percent

if TYPE_CHECKING:
    from rich.console import Console

DEFAULT = "default"
HEADING = "Under other rules, on the same questions"
NONE = "-"


@dataclass(frozen=True)
class Line:
    """A recipe's base and trained score by rule; `default` is the run's own rule."""

    recipe: Recipe
    scores: dict[str, tuple[dict[str, Any] | None, dict[str, Any] | None]]


@dataclass(frozen=True)
class Protocols:
    """`other_form` says what form of answer a rule looks for, where the prompts ask for another."""

    rules: list[str]
    lines: list[Line]
    other_form: dict[str, str]
    warnings: list[str]

    def cell(self, line: Line, rule: str) -> str:
        """Trained accuracy in percent and the points gained: `24.5 (+12.0)`; * where noted."""
        base, trained = line.scores[rule]
        if not (base and trained):
            found = trained or base
            return percent(found["accuracy"]) if found else NONE
        gain = 100 * (trained["accuracy"] - base["accuracy"])
        mark = "*" if rule in self.other_form else ""
        return f"{percent(trained['accuracy'])} ({gain:+.1f}){mark}"

    def markdown(self) -> list[str]:
        header = ["run", *(f"{rule} % (points)" for rule in self.rules)]
        cells = [
            [line.recipe.numbers, *(self.cell(line, rule) for rule in self.rules)]
            for line in self.lines
        ]
        table = [f"| {' | '.join(line)} |" for line in (header, ["---"] * len(header), *cells)]
        return ["", HEADING, "", *table, "", *(f"- {note}" for note in self.notes)]

    @property
    def notes(self) -> list[str]:
        return [f"*: {rule} {OTHER_FORM}: {why}" for rule, why in self.other_form.items()]

    def records(self) -> list[dict[str, Any]]:
        """One a recipe and rule."""
        return [
            {"recipe": line.recipe.index, "rule": rule, "base": base, "trained": trained}
            for line in self.lines
            for rule, (base, trained) in line.scores.items()
        ]


def protocols(comparison: Comparison, recipes: Sequence[Recipe] | None = None) -> Protocols | None:
    """Of `recipes` (default: of all); None where there is no rule but the default."""
    results = [row.result for row in comparison.rows if row.result]
    rules = list(dict.fromkeys(name for result in results for name in result.protocols))
    if not rules:
        return None
    shown = {recipe.index for recipe in recipes or comparison.recipes}
    columns = {DEFAULT: comparison} | {rule: under(comparison, rule) for rule in rules}
    lines: dict[int, Line] = {}
    for rule, found in columns.items():
        for recipe in found.recipes:
            if recipe.index in shown:
                line = lines.setdefault(recipe.index, Line(recipe, {}))
                line.scores[rule] = (recipe.base, recipe.trained)
    other_form = {
        rule: why
        for result in results
        for rule, found in result.protocols.items()
        if (why := found.get("other_form"))
    }
    return Protocols([DEFAULT, *rules], list(lines.values()), other_form, _warnings(comparison))


def under(comparison: Comparison, rule: str) -> Comparison:
    """The same runs with their scores under a rule in place of those under their own."""
    name = f"{PROTOCOL}{rule}"
    rows = [row.scored_by("protocols", rule, name) for row in comparison.rows]
    return replace(comparison, rows=rows, benchmark=name)


def _warnings(comparison: Comparison) -> list[str]:
    return [
        f"run {row.index} ({row.label()}): {found['warning']}"
        for row in comparison.rows
        if row.result
        for found in row.result.protocols.values()
        if found.get("warning")
    ]


def print_protocols(comparison: Comparison, console: "Console") -> None:
    """A small table, why a rule cannot read the answers, and the warnings."""
    from rich import box
    from rich.table import Table

    found = protocols(comparison)
    if found is None:
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False)
    table.add_column("run", no_wrap=True)
    for rule in found.rules:
        table.add_column(rule.replace(".", "\n"), justify="right", no_wrap=True)
    for line in found.lines:
        cells = [found.cell(line, rule) for rule in found.rules]
        table.add_row(line.recipe.numbers, *cells)
    console.print(f"\n{HEADING}: trained % (points gained)", style="bold")
    console.print(table)
    for note in found.notes:
        console.print(note, style="dim", markup=False, highlight=False)
    for warning in found.warnings:
        console.print(f"WARNING: {warning}", style="bold red", markup=False, highlight=False)
