"""Compare the runs of a sweep: a table, a chart and the links to MLflow, printed and kept."""

import logging
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rlvr import manifest
from rlvr.compare import chart, table
from rlvr.compare.rows import Comparison, read_runs, read_sweep
from rlvr.result import write_atomic

if TYPE_CHECKING:
    from rich.console import Console

log = logging.getLogger(__name__)

CHART = "chart"


def report(sweep_dir: Path, console: "Console | None" = None) -> None:
    """Print the comparison of a sweep, write it next to the manifest, put it on the parent run."""
    comparison = read_sweep(sweep_dir)
    _present(comparison, console)


def report_runs(
    directories: list[Path], destination: Path, console: "Console | None" = None
) -> None:
    """The same for runs and sweeps of any origin, written to `destination`."""
    comparison = read_runs(directories, destination)
    destination.mkdir(parents=True, exist_ok=True)
    _present(comparison, console)


def compare(targets: list[str]) -> None:
    """`rlvr compare`: one sweep (a directory, its name, or `last`), or several directories."""
    from rlvr.paths import output_dir

    sweeps = output_dir() / "sweeps"
    found = [manifest.locate(target, sweeps) for target in targets or ["last"]]
    if len(found) == 1 and (found[0] / manifest.FILE).is_file():
        report(found[0])
    else:
        report_runs(found, output_dir() / "comparisons" / f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}")


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
    _print_places(comparison, console, charts, found)
    _to_parent(comparison, charts)


def _write(
    comparison: Comparison, ending: str, drawn: Path | None, found: dict[str, str | None]
) -> None:
    name = drawn.name if drawn else None
    image = f"\n![{comparison.title()}]({name})\n" if name else ""
    files = {
        "json": table.as_json(comparison, chart=name, links=found),
        "csv": table.as_csv(comparison),
        "md": table.markdown(comparison) + image,
    }
    for kind, text in files.items():
        write_atomic(comparison.directory / f"comparison{ending}.{kind}", text)


def _print_scores(comparison: Comparison, console: "Console") -> None:
    console.print()
    drawing, dropped = table.rich_table(comparison, console.width)
    console.print(drawing)
    if dropped:
        console.print(f"not shown at this width: {', '.join(dropped)}", style="dim")
    for note in table.notes(comparison):
        console.print(note, markup=False, highlight=False)


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
        return "trained/accuracy"
    return "base/accuracy" if any(row.base for row in comparison.rows) else "metric"


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
        note=table.markdown(comparison),
        metrics={
            "best/accuracy": best.trained["accuracy"] if best and best.trained else None,
            "best/points": best.points if best else None,
        },
        artifacts=[*files, *charts],
    )
