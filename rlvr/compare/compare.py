"""Compare the runs of a sweep: a table, a chart and the links to MLflow, printed and kept."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rlvr import manifest
from rlvr.compare import chart, markup, records, table
from rlvr.compare.comparison import Comparison, read_runs, read_sweep
from rlvr.compare.filters import select
from rlvr.compare.protocols import print_protocols
from rlvr.compare.verdict import verdict
from rlvr.result import write_atomic

if TYPE_CHECKING:
    from rich.console import Console

CHART = "chart"
FORMS: dict[str, Callable[[Comparison], str]] = {
    "csv": records.as_csv,
    "json": records.as_json,
    "markdown": markup.markdown,
    "latex": markup.latex,
}


def report(sweep_dir: Path, console: "Console | None" = None) -> None:
    """Print the comparison of a sweep, write it next to the manifest, put it on the parent run."""
    _present(read_sweep(sweep_dir), console)


def compare(
    targets: Sequence[str],
    *,
    where: Sequence[str] = (),
    state: str | None = None,
    form: str | None = None,
) -> None:
    """`rlvr compare`: one sweep (a directory, its name, or `last`), or several directories.

    What is not a whole sweep is written to a directory of its own; with `form`, one of FORMS,
    nothing is written but that, to stdout.
    """
    from rlvr.paths import output_dir

    sweeps = output_dir() / "sweeps"
    found = [manifest.locate(target, sweeps) for target in targets or ["last"]]
    own = output_dir() / "comparisons" / f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}"
    whole = len(found) == 1 and (found[0] / manifest.FILE).is_file()
    comparison = read_sweep(found[0]) if whole else read_runs(found, own)
    if where or state:
        comparison = replace(
            select(comparison, where, state), directory=own, tracking=manifest.Tracking()
        )
    if form:
        print(FORMS[form](comparison), end="")
        return
    comparison.directory.mkdir(parents=True, exist_ok=True)
    _present(comparison, None)


def _present(comparison: Comparison, console: "Console | None") -> None:
    from rich.console import Console

    console = console or Console()
    found = _links(comparison)
    charts = []
    for scores in [comparison, *map(comparison.on, comparison.benchmarks)]:
        ending = f".{scores.benchmark}" if scores.benchmark else ""
        drawn = chart.draw(scores, scores.directory / f"{CHART}{ending}.png")
        charts += [drawn] if drawn else []
        _write(scores, ending, drawn, found)
        _print_scores(scores, console)
    print_protocols(comparison, console)
    _print_places(comparison, console, charts, found)
    _to_parent(comparison, charts)
    _register_best(comparison, console)


def _write(
    comparison: Comparison, ending: str, drawn: Path | None, found: dict[str, str | None]
) -> None:
    name = drawn.name if drawn else None
    image = f"\n![{comparison.title()}]({name})\n" if name else ""
    files = {
        "json": records.as_json(comparison, chart=name, links=found),
        "csv": records.as_csv(comparison),
        "md": markup.markdown(comparison) + image,
    }
    for kind, text in files.items():
        write_atomic(comparison.directory / f"comparison{ending}.{kind}", text)


def _print_scores(comparison: Comparison, console: "Console") -> None:
    console.print()
    drawing, dropped = table.rich_table(comparison, console.width)
    console.print(drawing)
    if dropped:
        console.print(f"not shown at this width: {', '.join(dropped)}", style="dim")
    console.print(verdict(comparison), markup=False, highlight=False)
    for note in table.notes(comparison):
        console.print(note, style="dim", markup=False, highlight=False)


def _print_places(
    comparison: Comparison,
    console: "Console",
    charts: list[Path],
    found: dict[str, str | None],
) -> None:
    where: list[tuple[str, str | None]] = [("chart", str(drawn)) for drawn in charts]
    where.append(("files", str(comparison.directory)))
    labels = {"command": "MLflow UI", "runs_url": "runs in MLflow", "compare_url": "compared"}
    where += [(label, found.get(key)) for key, label in labels.items()]
    console.print()
    for label, text in where:
        if text:  # on one line whatever the width, so that it can be clicked or copied
            console.print(f"{label}: {text}", soft_wrap=True, markup=False, highlight=False)


def best_metric(comparison: Comparison) -> str:
    """The metric to sort by in MLflow: the one that chose the best run."""
    if any(row.trained for row in comparison.rows):
        return "accuracy/trained"
    return "accuracy/base" if any(row.base for row in comparison.rows) else "reward/total"


def _links(comparison: Comparison) -> dict[str, str | None]:
    from rlvr import tracking

    record = comparison.tracking
    if record.uri is None or record.experiment_id is None:
        return {}
    finished = [row.run_id for row in comparison.rows if row.run_id and row.state == "finished"]
    every = [row.run_id for row in comparison.rows if row.run_id]
    return tracking.links(
        record.uri,
        record.experiment_id,
        parent_run_id=record.parent_run_id,
        run_ids=finished or every,
        metric=best_metric(comparison),
    )


def _to_parent(comparison: Comparison, charts: list[Path]) -> None:
    """The parent run's page in MLflow shows what the terminal does."""
    from rlvr import tracking

    best = comparison.best
    files = [comparison.directory / name for name in ("comparison.csv", "comparison.json")]
    tracking.describe_sweep(
        comparison.tracking.uri,
        comparison.tracking.parent_run_id,
        note=markup.markdown(comparison),
        metrics={
            "best/accuracy": best.trained["accuracy"] if best and best.trained else None,
            "best/accuracy_gain": best.points / 100 if best and best.points is not None else None,
        },
        artifacts=[*files, *charts],
    )


def _register_best(comparison: Comparison, console: "Console") -> None:
    """Only a model that is better than the base by more than the draw of the questions explains."""
    from rlvr.tracking.registry import register_model

    best, uri = comparison.best, comparison.tracking.uri
    if uri is None or best is None or best.gain is None or best.gain.low <= 0:
        return
    run = max(best.runs, key=lambda run: run.score or 0.0)
    name, folder = run.settings.get("tracking.registered_model"), run.directory / "model"
    if not name or run.run_id is None or not folder.is_dir():
        return
    tags = {"accuracy": run.score, "gain": best.gain.mean, "gain_low": best.gain.low}
    if version := register_model(uri, run.run_id, folder, name, tags):
        console.print(f"model of run {run.index} registered: {name} version {version}")
