"""Runs and sweeps as pandas DataFrames. docs/sweeps.md says what each column holds."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame

    from rlvr.compare.comparison import Comparison
    from rlvr.compare.runs import RunRow

PHASES = ("base", "trained")
OF_A_SAMPLE = (
    "correct", "reward", "reason", "extracted", "format_ok", "tokens", "ended", "completion"
)  # fmt: skip


def load_sweep(path: str | Path = "last") -> "DataFrame":
    """A row a run. `path` is a sweep's directory, its name in outputs/sweeps, or `last`.

    `attrs` has `title` and `verdict`.
    """
    from rlvr import manifest
    from rlvr.compare.comparison import read_sweep

    return _runs(read_sweep(manifest.find(path)))


def load_run(path: str | Path) -> "DataFrame":
    """The same of one run's directory: a single row."""
    from rlvr.compare.comparison import read_runs

    return _runs(read_runs([Path(path)], Path(path)))


def load_answers(path: str | Path) -> "DataFrame":
    """A row for each answer to each question, before and after training, of a run or a sweep."""
    from rlvr.compare.answers import read_rows

    return _frame(
        {
            "run": run.index,
            "phase": phase,
            "benchmark": benchmark,
            "id": key,
            "question": row["question"],
            "gold": row["gold"],
            "sample": sample,
            **{part: row[part][sample] for part in OF_A_SAMPLE},
        }
        for run in _rows(path)
        for benchmark in (None, *(run.result.benchmarks if run.result else ()))
        for phase in PHASES
        for key, row in read_rows(run.directory, phase, benchmark).items()
        for sample in range(len(row["correct"]))
    )


def load_metrics(path: str | Path) -> "DataFrame":
    """A row for each logged step of a run or of each run of a sweep, a column for each metric."""
    from rlvr.compare.logs import metrics

    return _frame({"run": run.index, **r} for run in _rows(path) for r in metrics(run.directory))


def _runs(comparison: "Comparison") -> "DataFrame":
    from rlvr.compare.records import run_records
    from rlvr.compare.verdict import verdict

    frame = _frame(run_records(comparison))
    frame.attrs = {"title": comparison.title(), "verdict": verdict(comparison)}
    return frame


def _rows(path: str | Path) -> "Sequence[RunRow]":
    from rlvr import manifest
    from rlvr.compare.comparison import read_runs
    from rlvr.paths import output_dir

    directory = manifest.locate(str(path), output_dir() / "sweeps")
    return read_runs([directory], directory).rows


def _frame(records: Iterable[dict[str, Any]]) -> "DataFrame":
    from pandas import DataFrame

    return DataFrame(list(records))
