"""A comparison to paste elsewhere: Markdown and LaTeX."""

from rlvr.compare.comparison import Comparison
from rlvr.compare.protocols import protocols
from rlvr.compare.table import BEST, Column, columns, notes
from rlvr.compare.verdict import verdict


def markdown(comparison: Comparison) -> str:
    """Heading, verdict, table and notes."""
    found = columns(comparison)
    lines = [f"## {comparison.title()}", "", *verdict(comparison).splitlines(), ""]
    lines += [*_markdown_table(comparison, found), ""]
    lines += [f"- {note}" for note in notes(comparison)]
    if rules := protocols(comparison):
        lines += [*rules.markdown(), *(f"- **warning**: {text}" for text in rules.warnings)]
    return "\n".join(lines) + "\n"


def _markdown_table(comparison: Comparison, found: list[Column]) -> list[str]:
    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"

    body = [[cell(recipe) for _, cell in found] for recipe in comparison.recipes]
    return [line([h for h, _ in found]), line(["---"] * len(found)), *map(line, body)]


def latex(comparison: Comparison) -> str:
    """A table of the booktabs package."""
    found = columns(comparison)
    body = [[cell(recipe) for _, cell in found] for recipe in comparison.recipes]

    def line(cells: list[str]) -> str:
        return " & ".join(map(_latex_text, cells)) + r" \\"

    return "\n".join(
        [
            rf"% {comparison.title()}",
            *(f"% {sentence}" for sentence in verdict(comparison).splitlines()),
            rf"\begin{{tabular}}{{{'l' * len(found)}}}",
            r"\toprule",
            line([header for header, _ in found]),
            r"\midrule",
            *map(line, body),
            r"\bottomrule",
            r"\end{tabular}",
            *(f"% {note}" for note in notes(comparison)),
            "",
        ]
    )


def _latex_text(text: str) -> str:
    special = {c: rf"\{c}" for c in "&%$#_{}"}
    special |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {BEST: r"$\star$", "→": r"$\to$", "<": "$<$", ">": "$>$"}
    return "".join(special.get(character, character) for character in text)
