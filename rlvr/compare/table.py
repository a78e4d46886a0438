"""A comparison as text: the table on the terminal, and the same as Markdown, CSV and JSON."""

import csv
import io
import json
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from rlvr.compare.rows import Comparison, RunRow, short_names, shown
from rlvr.formatting import duration, p_value, percent

if TYPE_CHECKING:
    from rich.table import Table

BEST = "★"
NONE = "-"
TRAINED = "trained [95 % CI]"
ENDED_BADLY = ("failed", "killed", "lost")
STYLES = {"failed": "bold red", "lost": "bold red", "killed": "yellow"}
EXPENDABLE = ("cost $", "time", "points", "base %")  # left out where the terminal is too narrow
Column = tuple[str, Callable[[RunRow], str]]


def columns(comparison: Comparison) -> list[Column]:
    """Header and cell of each column that has something to say. Shares are in percent."""
    rows, names = comparison.rows, short_names(comparison.keys)
    best = comparison.best if len(rows) > 1 else None
    found: list[Column] = [
        ("run", lambda row: f"{BEST} {row.index}" if row is best else f"{row.index}")
    ]
    found += [(names[key], _setting(key)) for key in comparison.keys]
    if not comparison.keys:
        found.append(("name", lambda row: row.name))
    if any(row.base for row in rows):
        found.append(("base %", lambda row: percent(row.base["accuracy"]) if row.base else NONE))
    if any(row.trained for row in rows):
        found.append((TRAINED, _trained))
    elif any(row.value is not None for row in rows):
        found.append(("value", lambda row: _state(row) if row.value is None else shown(row.value)))
    else:
        found.append(("state", _state))
    if any(row.points is not None for row in rows):
        found.append(("points", lambda row: NONE if row.points is None else f"{row.points:+.1f}"))
    if any(row.p_value is not None for row in rows):
        found.append(("p", lambda row: NONE if row.p_value is None else p_value(row.p_value)))
    if any(row.result and row.result.seconds for row in rows):
        found.append(("time", _time))
    if any(row.result and row.result.cost is not None for row in rows):
        found.append(("cost $", _cost))
    return found


def _state(row: RunRow) -> str:
    return row.progress or row.state


def _setting(key: str) -> Callable[[RunRow], str]:
    return lambda row: shown(row.varied[key])


def _trained(row: RunRow) -> str:
    score = row.trained
    if not score:
        return NONE if row.state == "finished" else _state(row)
    low, high = percent(score["low"]), percent(score["high"])
    return f"{percent(score['accuracy'])} [{low:>4}, {high:>4}]"


def _time(row: RunRow) -> str:
    return duration(row.result.seconds) if row.result and row.result.seconds else NONE


def _cost(row: RunRow) -> str:
    return NONE if row.result is None or row.result.cost is None else f"{row.result.cost:.2f}"


def notes(comparison: Comparison) -> list[str]:
    """What the table leaves open: the best run, how p was found, why runs have no numbers."""
    lines = []
    if (best := comparison.best) is not None and len(comparison.rows) > 1:
        gain = "" if best.points is None else f", {best.points:+.1f} points"
        score = percent(best.score or 0.0) + " %" if best.trained else shown(best.score)
        lines.append(f"{BEST} best: run {best.index} ({best.label()}), {score}{gain}")
        lines += _equals(best, comparison.rows)
    if any(row.p_value is not None for row in comparison.rows):
        several = len([row for row in comparison.rows if row.p_value is not None]) > 1
        many = "; not corrected for the number of runs" if several else ""
        lines.append(f"p: exact McNemar test, trained against base on the same questions{many}")
    lines += [
        f"run {row.index} ({row.label()}) {row.state}: {reason(row)}"
        for row in comparison.rows
        if row.state in ENDED_BADLY
    ]
    return lines


def _equals(best: RunRow, rows: list[RunRow]) -> list[str]:
    """Runs that may be as good as the best, named before anyone concludes that they are not."""
    trained = [(row.index, row.trained) for row in rows if row is not best and row.trained]
    low = best.trained["low"] if best.trained else math.inf
    near = [str(index) for index, score in trained if score["high"] >= low]
    more = f" and {len(near) - 8} more" if len(near) > 8 else ""
    listed = ", ".join(near[:8]) + more
    noun = "runs" if len(near) > 1 else "run"
    return [f"intervals that overlap with its own: {noun} {listed}"] if near else []


def reason(row: RunRow) -> str:
    """One line on why a run has no result."""
    text = row.error or (row.result.error if row.result else None) or ""
    first = text.strip().partition("\n")[0]
    unsaid = {"lost": "its process is gone and left no result", "killed": "it was stopped"}
    return first[:300] or unsaid.get(row.state, "no reason known")


def rich_table(comparison: Comparison, width: int) -> "tuple[Table, list[str]]":
    """The table, and the headers of the columns that `width` has no room for."""
    found, dropped = columns(comparison), []
    for header in EXPENDABLE:
        if _width(found, comparison.rows) <= width:
            break
        if header in (h for h, _ in found):
            found = [column for column in found if column[0] != header]
            dropped.append(header)
    return _draw(comparison, found), dropped


def _width(found: list[Column], rows: list[RunRow]) -> int:
    """How many characters wide the table is."""
    widths = [max(len(header), *(len(cell(row)) for row in rows)) for header, cell in found]
    return sum(widths) + 2 * len(found)


def _draw(comparison: Comparison, found: list[Column]) -> "Table":
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    title = escape(comparison.title())
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1),
        collapse_padding=True,
        pad_edge=False,
    )
    for header, cell in found:
        texts = [cell(row) for row in comparison.rows]
        right = all(text[:1] in f"{BEST}+-<0123456789" for text in texts) and header != "name"
        justify: Literal["left", "right"] = "right" if right or header == TRAINED else "left"
        table.add_column(escape(header), justify=justify, no_wrap=header != "name")
    for row in comparison.rows:
        table.add_row(*(_cell(header, cell(row), row, comparison) for header, cell in found))
    return table


def _cell(header: str, text: str, row: RunRow, comparison: Comparison) -> str:
    from rich.markup import escape

    best = row is comparison.best and len(comparison.rows) > 1
    style = "bold green" if best and header in ("run", TRAINED) else ""
    if text == _state(row):
        style = STYLES.get(row.state, "")
    return f"[{style}]{escape(text)}[/]" if style else escape(text)


def markdown(comparison: Comparison) -> str:
    """Heading, table and notes."""
    found = columns(comparison)
    lines = [f"## {comparison.title()}", "", *_markdown_table(comparison, found), ""]
    return "\n".join([*lines, *(f"- {note}" for note in notes(comparison))]) + "\n"


def _markdown_table(comparison: Comparison, found: list[Column]) -> list[str]:
    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"

    body = [[cell(row) for _, cell in found] for row in comparison.rows]
    return [line([h for h, _ in found]), line(["---"] * len(found)), *map(line, body)]


def records(comparison: Comparison) -> list[dict[str, Any]]:
    """One flat record a run, with plain numbers: accuracies are shares of one."""
    return [_record(row) for row in comparison.rows]


def _record(row: RunRow) -> dict[str, Any]:
    record: dict[str, Any] = {"run": row.index, "name": row.name, **row.varied, "state": row.state}
    for phase, score in (("base", row.base), ("trained", row.trained)):
        for part in ("accuracy", "low", "high", "n"):
            record[f"{phase}_{part}"] = score[part] if score else None
    return {
        **record,
        "points": row.points,
        "p_value": row.p_value,
        "value": row.value,
        "seconds": row.result.seconds if row.result else None,
        "cost": row.result.cost if row.result else None,
        "error": reason(row) if row.state in ENDED_BADLY else None,
        "run_id": row.run_id,
        "directory": str(row.directory),
    }


def as_csv(comparison: Comparison) -> str:
    found = records(comparison)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(found[0]) if found else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return text.getvalue()


def as_json(comparison: Comparison, *, chart: str | None, links: dict[str, str | None]) -> str:
    best = comparison.best
    content = {
        "title": comparison.title(),
        "sweep": comparison.name,
        "differs": comparison.keys,
        "best": None if best is None else best.index,
        "runs": records(comparison),
        "chart": chart,
        "links": links,
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
