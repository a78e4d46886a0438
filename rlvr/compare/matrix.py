"""Training shots x evaluation shots: what `rlvr evaluate` found, as table, files and heat map."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr import manifest
from rlvr.compare import seeds
from rlvr.compare.comparison import read_runs, read_sweep
from rlvr.compare.curves import shots
from rlvr.compare.names import shown
from rlvr.compare.recipes import SEED
from rlvr.compare.runs import RunRow, label
from rlvr.errors import UserError
from rlvr.evaluation.command import Cell
from rlvr.evaluation.tasks import OTHER_SHOTS, with_shots
from rlvr.formatting import percent
from rlvr.result import write_atomic

if TYPE_CHECKING:
    from rich.console import Console

NAME = "evaluations"  # of the files: .json, .csv, .png
BASE = "base"
# What the column "trained with" says
SHOTS = (
    *("shots", "dataset.num_shots", "schedule", "shots_schedule"),
    *("shots_end", "shots_until", "shots_probability"),
)
# By which base models may differ, too
OF_THE_BASE = (SEED, "model", "dataset", "eval")


@dataclass(frozen=True)
class Line:
    """A model's scores by evaluation shots; `label` tells it from others trained as often.

    `train_shots` are those that training began with, `schedule` says what became of them, and
    `recipe` is the label without the seed.
    """

    run: str  # its directory's name, or BASE
    label: str
    train_shots: int | None
    scores: dict[int, dict[str, Any]]
    schedule: str | None = None
    recipe: str | None = None

    @property
    def trained(self) -> str:
        if self.train_shots is None:
            return "not trained"
        return self.schedule or f"{self.train_shots} shots"

    @property
    def name(self) -> str:
        """`run 3 (lr=3e-4)`, `runs 0,3`."""
        name = BASE if self.train_shots is None else f"run{'s' * (',' in self.run)} {self.run}"
        return f"{name} ({self.label})" if self.label else name


def present(cells: Sequence[Cell], folder: Path, console: "Console | None" = None) -> None:
    """Print the matrix and write it into `folder`, that of a sweep or of a run."""
    from rich.console import Console

    console = console or Console()
    lines = _lines(cells, _rows(folder))
    _write(lines, folder)
    _print(over_seeds(lines), console)
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
    return [line for lines in found for line in _in_order(lines)]


def _in_order(lines: Sequence[Line]) -> list[Line]:
    """By their shots, those that move behind those that do not."""
    return sorted(lines, key=lambda x: (x.schedule is not None, x.train_shots or 0))


def _grouped(cells: Sequence[Cell], of: dict[str, RunRow]) -> list[Line]:
    """A line for each model, in the order of the cells."""
    groups: dict[tuple[str, ...], list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.runs, []).append(cell)
    telling = _telling([[of[run].varied for run in runs if run in of] for runs in groups])
    return [
        Line(
            BASE if mine[0].train_shots is None else runs[0],
            label(settings),
            mine[0].train_shots,
            {cell.eval_shots: asdict(cell.score) for cell in mine},
            mine[0].schedule,
            _recipe(settings),
        )
        for (runs, mine), settings in zip(groups.items(), telling, strict=True)
    ]


def _recipe(settings: dict[str, Any]) -> str:
    return label({key: value for key, value in settings.items() if key != SEED})


def _telling(groups: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """What tells the groups of runs apart, besides shots: settings that no group has two of."""
    telling: dict[str, list[Any]] = {}
    for key in dict.fromkeys(key for group in groups for varied in group for key in varied):
        column = [{shown(varied.get(key)): varied.get(key) for varied in group} for group in groups]
        told = all(len(values) == 1 for values in column) and len(set().union(*column)) > 1
        if told and key not in SHOTS:
            telling[key] = [value for values in column for value in values.values()]
    return [{key: column[place] for key, column in telling.items()} for place in range(len(groups))]


def over_seeds(lines: Sequence[Line]) -> list[Line]:
    """A line for each recipe, where any has several seeds: means, with the interval of
    `rlvr.compare.seeds` (as wide as without the answers to each question)."""
    groups: dict[tuple[Any, ...], list[Line]] = {}
    for line in lines:
        alone = line.label if line.recipe is None else None
        key = (line.run == BASE, line.train_shots, line.schedule, line.recipe, alone)
        groups.setdefault(key, []).append(line)
    if len(groups) == len(lines):
        return list(lines)
    means = {count: _means([*groups.values()], count) for count in _across(lines)}
    return [
        replace(
            mine[0],
            run=BASE if mine[0].run == BASE else ",".join(line.run for line in mine),
            label=mine[0].label if mine[0].recipe is None else mine[0].recipe,
            scores={count: found[place] for count, found in means.items() if place in found},
        )
        for place, mine in enumerate(groups.values())
    ]


def _means(groups: Sequence[Sequence[Line]], count: int) -> dict[int, dict[str, Any]]:
    """Of the groups that were asked with `count` shots, by their place."""
    scores = {
        place: [line.scores[count] for line in mine if count in line.scores]
        for place, mine in enumerate(groups)
    }
    asked = [place for place, found in scores.items() if found]
    pooled = seeds.pool([seeds.estimate_from_scores(scores[place]) for place in asked])
    found = {}
    for place, estimate in zip(asked, pooled, strict=True):
        interval = seeds.accuracy_interval(estimate)
        ends = {"accuracy": estimate.mean, "low": interval.low, "high": interval.high}
        found[place] = {**scores[place][0], **ends, "n": estimate.n}
    return found


def of_results(rows: Sequence[RunRow]) -> list[Line]:
    """What runs whose shots moved were asked at both ends, beside what the others were asked.

    Empty where none moved: `rlvr evaluate` asks with other shots then.
    """
    if not any(row.result and row.result.schedule for row in rows):
        return []
    bases: dict[str, Line] = {}
    trained = []
    for row in (row for row in rows if row.result and row.result.trained):
        telling = {key: value for key, value in row.varied.items() if key not in SHOTS}
        trained.append(_of_result(row, label(telling), _recipe(telling)))
        asked = {key: value for key, value in telling.items() if key.startswith(OF_THE_BASE)}
        base = Line(BASE, label(asked), None, {}, None, _recipe(asked))
        bases.setdefault(base.label, base).scores.update(_asked(row, "base"))
    return [*bases.values(), *_in_order(trained)]


def _of_result(row: RunRow, named: str, recipe: str) -> Line:
    assert row.result is not None
    scores, schedule = _asked(row, "trained"), row.result.schedule
    # the result has the shots of the end, and beside them those of the start
    end = shots(row)
    start = next((count for count in scores if count != end), end)
    return Line(row.directory.name, named, start, scores, schedule, recipe)


def _asked(row: RunRow, phase: str) -> dict[int, dict[str, Any]]:
    """The run's scores by the shots in evaluation."""
    assert row.result is not None
    asked = {with_shots(shots(row) or 0): {phase: getattr(row.result, phase)}}
    asked |= row.result.benchmarks
    return {
        int(name.removeprefix(OTHER_SHOTS)): scores[phase]
        for name, scores in asked.items()
        if name.startswith(OTHER_SHOTS) and scores.get(phase)
    }


def _write(lines: Sequence[Line], folder: Path) -> None:
    records = [
        {
            "run": line.run,
            "label": line.label,
            "recipe": line.recipe,
            "train_shots": line.train_shots,
            "schedule": line.schedule,
            "eval_shots": count,
            "score": score,
        }
        for line in lines
        for count, score in line.scores.items()
    ]
    write_atomic(folder / f"{NAME}.json", json.dumps(records, indent=2) + "\n")
    _write_csv(records, folder / f"{NAME}.csv")
    _draw(over_seeds(lines), folder / f"{NAME}.png")


def _write_csv(records: Sequence[dict[str, Any]], path: Path) -> None:
    text = io.StringIO()
    of_model, of_score = (
        ("run", "label", "train_shots", "schedule", "eval_shots"),
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
        own = None if line.schedule else line.train_shots
        cells = [_cell(line.scores.get(c), bold=c == own) for c in across]
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
        for line, asked, score in _read(file):
            if line.run == BASE or line.run not in before:
                lines.setdefault((line.run, line.label), line).scores.setdefault(asked, score)
    return list(lines.values())


def _read(file: Path) -> list[tuple[Line, int, dict[str, Any]]]:
    if not file.is_file():
        return []
    try:
        return [
            (_line(c), int(c["eval_shots"]), dict(c["score"]))
            for c in json.loads(file.read_text(encoding="utf-8"))
        ]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{file} is not what rlvr evaluate writes: {error!r}") from error


def _line(cell: dict[str, Any]) -> Line:
    """Without scores; `rlvr evaluate` wrote fewer names once."""
    told = cell.get("schedule"), cell.get("recipe")
    return Line(cell["run"], cell.get("label", ""), cell["train_shots"], {}, *told)
