import io
import json

import pytest
from rich.console import Console

from rlvr.compare import table
from rlvr.compare.comparison import read_sweep


def text_of(comparison, width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO(), record=True)
    drawing, _ = table.rich_table(comparison, width)
    console.print(drawing)
    return console.export_text()


@pytest.mark.parametrize("width", [80, 120])
def test_one_line_a_run_with_its_numbers(make_sweep, grid, width: int):
    lines = text_of(read_sweep(make_sweep(grid)), width).splitlines()
    assert all(len(line.rstrip()) <= width for line in lines)
    best = next(line for line in lines if line.lstrip().startswith(table.BEST))
    assert best.split() == (
        f"{table.BEST} 0 2 2e-4 33.0 87.0 [81.6, 91.0] +54.0 <0.001 2m 05s".split()
    )
    worst = next(line for line in lines if " 1e-3 " in line)
    assert "[ 1.4,  6.4]   -30.0" in worst
    assert "state" not in lines[2]


def test_failed_runs_say_so_and_why(make_sweep):
    error = "OutOfMemoryError: CUDA out of memory.\nTried to allocate"
    directory = make_sweep(
        [
            ("shots=0", {}),
            ("shots=2", {"state": "failed", "error": error}),
            ("shots=4", {"state": "killed"}),
            ("shots=8", {"state": "running"}),
        ]
    )
    (directory / "3" / "progress.json").write_text(
        json.dumps({"phase": "train", "step": 45, "max_steps": 100})
    )
    comparison = read_sweep(directory)
    text = text_of(comparison)
    assert "failed" in text
    assert "killed" in text
    assert "train 45/100" in text
    notes = table.notes(comparison)
    assert "run 1 (shots=2) failed: OutOfMemoryError: CUDA out of memory." in notes
    assert "run 2 (shots=4) killed: it was stopped" in notes
    assert not any("shots=8" in note for note in notes)


def test_without_trained_evaluation_the_metric_is_shown(make_sweep):
    directory = make_sweep([("shots=0", {"base": None, "trained": None})])
    comparison = read_sweep(directory)
    comparison.rows[0].value = 1.25
    headers = [header for header, _ in table.columns(comparison)]
    assert headers == ["run", "name", "value", "time"]
    assert comparison.best.score == 1.25


def test_nothing_has_finished(make_sweep):
    comparison = read_sweep(make_sweep([("shots=0", {"state": "pending"})] * 2))
    assert text_of(comparison).count("pending") == 2
    assert table.notes(comparison) == []


def test_cost_has_its_column_where_known(make_sweep):
    comparison = read_sweep(make_sweep([("shots=0", {"cost": 1.234}), ("shots=4", {})]))
    assert "1.23" in text_of(comparison)


def test_columns_give_way_where_the_terminal_is_narrow(make_sweep, grid):
    comparison = read_sweep(make_sweep(grid))
    drawing, dropped = table.rich_table(comparison, 64)
    assert dropped == ["time"]
    assert [column.header for column in drawing.columns][-1] == "p"
    assert all(len(line.rstrip()) <= 64 for line in text_of(comparison, 64).splitlines())


def test_markup_in_a_setting_is_text(make_sweep):
    jobs = [("dataset.name='[red]x'", {}), ("dataset.name=y", {})]
    assert "[red]x" in text_of(read_sweep(make_sweep(jobs)))
