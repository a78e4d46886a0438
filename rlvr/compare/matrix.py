"""Training shots x evaluation shots: what `rlvr evaluate` found, as table, files and heat map."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr import manifest
from rlvr.compare.comparison import read_runs, read_sweep
from rlvr.compare.names import shown
from rlvr.compare.runs import RunRow, label
from rlvr.errors import UserError
from rlvr.evaluation.command import Cell
from rlvr.formatting import percent
from rlvr.result import write_atomic

if TYPE_CHECKING:
    from rich.console import Console

NAME = "evaluations"  # of the files: .json, .csv, .png
BASE = "base"
SHOTS = ("shots", "dataset.num_shots")


@dataclass(frozen=True)
class Line:
    """A model's scores by evaluation shots; `label` tells it from others trained as often."""

    run: str  # its directory's name, or BASE
    label: str
    train_shots: int | None
    scores: dict[int, dict[str, Any]]

    @property
    def trained(self) -> str:
        return "not trained" if self.train_shots is None else f"{self.train_shots} shots"

    @property
    def name(self) -> str:
        """`run 3 (lr=3e-4)`."""
        name = BASE if self.train_shots is None else f"run {self.run}"
        return f"{name} ({self.label})" if self.label else name


def present(cells: Sequence[Cell], folder: Path, console: "Console | None" = None) -> None:
    """Print the matrix and write it into `folder`, that of a sweep or of a run."""
    from rich.console import Console

    console = console or Console()
    lines = _lines(cells, _rows(folder))
    _write(lines, folder)
    _print(lines, console)
    places = {
        "heat map": f"{folder / NAME}.png",
        "files": f"{folder / NAME}.csv, {NAME}.json; each question in evaluations/ of its run",
    }
    if (folder / manifest.FILE).is_file():
        places["on the report"] = f"rlvr report {folder}"
    for name, text in places.items():
        console.print(f"{name}: {text}", soft_wrap=True, markup=False, highlight=False)


def _rows(folder: Path) -> list[RunRow]:
    whole = (folder / manifest.FILE).is_file()
    return (read_sweep(folder) if whole else read_runs([folder], folder)).rows


def _lines(cells: Sequence[Cell], rows: Sequence[RunRow]) -> list[Line]:
    """Base models first, then runs by their shots."""
    of = {row.directory.name: row for row in rows}
    bases = [cell for cell in cells if cell.train_shots is None]
    trained = [cell for cell in cells if cell.train_shots is not None]
    found = [_grouped(part, of) for part in (bases, trained)]
    return [line for lines in found for line in sorted(lines, key=lambda x: x.train_shots or 0)]


def _grouped(cells: Sequence[Cell], of: dict[str, RunRow]) -> list[Line]:
    """A line for each model, in the order of the cells."""
    groups: dict[tuple[str, ...], list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.runs, []).append(cell)
    labels = _labels([[of[run].varied for run in runs if run in of] for runs in groups])
    return [
        Line(
            BASE if mine[0].train_shots is None else runs[0],
            named,
            mine[0].train_shots,
            {cell.eval_shots: asdict(cell.score) for cell in mine},
        )
        for (runs, mine), named in zip(groups.items(), labels, strict=True)
    ]


def _labels(groups: Sequence[Sequence[dict[str, Any]]]) -> list[str]:
    """What tells the groups of runs apart, besides shots: settings that no group has two of."""
    telling: dict[str, list[Any]] = {}
    for key in dict.fromkeys(key for group in groups for varied in group for key in varied):
        column = [{shown(varied.get(key)): varied.get(key) for varied in group} for group in groups]
        told = all(len(values) == 1 for values in column) and len(set().union(*column)) > 1
        if told and key not in SHOTS:
            telling[key] = [value for values in column for value in values.values()]
    return [
        label({key: column[place] for key, column in telling.items()})
        for place in range(len(groups))
    ]


def _write(lines: Sequence[Line], folder: Path) -> None:
    records = [
        {
            "run": line.run,
            "label": line.label,
            "train_shots": line.train_shots,
            "eval_shots": count,
            "score": score,
        }
        for line in lines
        for count, score in line.scores.items()
    ]
    write_atomic(folder / f"{NAME}.json", json.dumps(records, indent=2) + "\n")
    _write_csv(records, folder / f"{NAME}.csv")
    _draw(lines, folder / f"{NAME}.png")


def _write_csv(records: Sequence[dict[str, Any]], path: Path) -> None:
    text = io.StringIO()
    of_model, of_score = (
        ("run", "label", "train_shots", "eval_shots"),
        ("accuracy", "low", "high", "n"),
    )
    writer = csv.DictWriter(
        text, [*of_model, *of_score], extrasaction="ignore", lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows({**record, **record["score"]} for record in records)
    write_atomic(path, text.getvalue())


def _across(lines: Sequence[Line]) -> list[int]:
    return sorted({count for line in lines for count in line.scores})


def _print(lines: Sequence[Line], console: "Console") -> None:
    from rich import box
    from rich.table import Table

    across = _across(lines)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False)
    table.add_column("run")
    if labelled := any(line.label for line in lines):
        table.add_column("settings", overflow="fold")
    table.add_column("trained with", justify="right")
    for count in across:
        table.add_column(f"asked with {count}", justify="right")
    for line in lines:
        head = [line.run, *([line.label] if labelled else []), line.trained]
        cells = [_cell(line.scores.get(c), bold=c == line.train_shots) for c in across]
        table.add_row(*head, *cells)
    n = sorted({score["n"] for line in lines for score in line.scores.values()})
    console.print(
        f"\naccuracy in % [95 % interval] by shots in training and in evaluation, "
        f"n = {' to '.join(map(str, dict.fromkeys((n[0], n[-1]))))}",
        style="bold", highlight=False, markup=False,
    )  # fmt: skip
    console.print(table)


def _cell(score: dict[str, Any] | None, *, bold: bool) -> str:
    """Bold where a run is asked as it was trained."""
    if score is None:
        return ""
    accuracy = percent(score["accuracy"])
    interval = rf"\[{percent(score['low'])}, {percent(score['high'])}]"
    return f"[bold]{accuracy}[/]\n{interval}" if bold else f"{accuracy}\n{interval}"


def _draw(lines: Sequence[Line], path: Path) -> None:
    import logging

    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # it tells of its font cache
    from matplotlib.figure import Figure

    across = _across(lines)
    shares = [[_percent(line.scores.get(count)) for count in across] for line in lines]
    size = (max(5.0, 3.0 + 1.1 * len(across)), 1.6 + 0.5 * len(lines))
    figure = Figure(figsize=size, dpi=150, layout="constrained")
    axes = figure.subplots()
    highest = max(value for row in shares for value in row if value == value) or 1.0
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=highest, aspect="auto")
    for y, row in enumerate(shares):
        for x, value in enumerate(row):
            text = "" if value != value else f"{value:.1f}"
            colour = "white" if value > 0.6 * highest else "black"
            axes.text(x, y, text, ha="center", va="center", color=colour)
    axes.set_xticks(range(len(across)), map(str, across))
    axes.set_yticks(range(len(lines)), [f"{line.name}, {line.trained}" for line in lines])
    axes.set_xlabel("shots in evaluation")
    axes.set_title("accuracy, %", loc="left", fontsize=11, fontweight="bold")
    axes.tick_params(length=0)
    figure.savefig(path)


def _percent(score: dict[str, Any] | None) -> float:
    return 100 * score["accuracy"] if score else float("nan")


def read_lines(folders: Sequence[Path]) -> list[Line]:
    """What `present` wrote into `folders`; of what is in several, the first.

    UserError where a file of its name is something else.
    """
    lines: dict[tuple[str, str], Line] = {}
    for file in (folder / f"{NAME}.json" for folder in folders):
        before = {run for run, _ in lines}
        for run, named, train_shots, asked, score in _read(file):
            if run == BASE or run not in before:
                line = lines.setdefault((run, named), Line(run, named, train_shots, {}))
                line.scores.setdefault(asked, score)
    return list(lines.values())


def _read(file: Path) -> list[tuple[str, str, int | None, int, dict[str, Any]]]:
    if not file.is_file():
        return []
    try:
        return [
            (c["run"], c.get("label", ""), c["train_shots"], int(c["eval_shots"]), dict(c["score"]))
            for c in json.loads(file.read_text(encoding="utf-8"))
        ]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{file} is not what rlvr evaluate writes: {error!r}") from error
