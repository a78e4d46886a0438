import io
import json
import re

import pytest
from rich.console import Console

from rlvr.compare import table
from rlvr.compare.comparison import read_runs, read_sweep
from rlvr.compare.names import shown


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


def test_runs_without_a_sandbox_are_marked(make_sweep):
    comparison = read_sweep(make_sweep([("shots=0", {}), ("shots=2", {}), ("shots=4", {})]))
    assert not any("sandbox" in note for note in table.notes(comparison))
    comparison.rows[0].result.sandbox = "none"
    comparison.rows[1].result.sandbox = "landlock (bubblewrap: there is no bwrap on the PATH)"
    assert [n[:14] for n in table.notes(comparison) if "sandbox" in n] == ["UNSAFE: 1 runs"]


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


def test_p_values_are_corrected_for_the_recipes_shown(make_sweep, answer):
    """Each wins 5, 6 and 8 questions and loses none: 2**-4, 2**-5 and 2**-7, times 1, 2 and 3."""
    gains = {"shots=0": (5, 2**-4), "shots=2": (6, 2**-5), "shots=4": (8, 2**-7)}
    comparison = read_sweep(
        make_sweep([(o, {"p": p, "trained": 0.3 + gain / 100}) for o, (gain, p) in gains.items()])
    )
    assert comparison.gain_p_values == {0: 2**-4, 1: 2**-4, 2: 3 * 2**-7}
    cells = dict(table.columns(comparison))
    assert [cells["p"](recipe) for recipe in comparison.recipes] == ["0.062", "0.062", "0.023"]
    assert any("corrected for 3 recipes (Holm)" in note for note in table.notes(comparison))


@pytest.fixture
def seeds(make_sweep, answer):
    """Two recipes of two seeds each: 60 and 64, 50 and 50 of 100 right."""
    right = {(2, 1): 60, (2, 2): 64, (4, 1): 50, (4, 2): 50}
    jobs = [(f"shots={a} seed={b}", {"trained": n / 100, "n": 100}) for (a, b), n in right.items()]
    directory = make_sweep(jobs)
    for place, n in enumerate(right.values()):
        answer(directory / str(place), "base", [i < 33 for i in range(100)])
        answer(directory / str(place), "trained", [i < n for i in range(100)])
    return directory


def test_seeds_are_one_row_with_their_deviation(seeds):
    comparison = read_sweep(seeds)
    lines = [line for line in text_of(comparison, 100).splitlines() if "±" in line]
    assert len(lines) == 2
    assert lines[0].split()[:5] == [table.BEST, "0,1", "2", "33.0", "62.0"]
    assert "2 ±2.8" in lines[0]
    assert "2 ±0.0" in lines[1]
    assert "-12.0" in lines[1]
    assert "4m 10s" in lines[1]  # of both runs
    headers = [header for header, _ in table.columns(comparison)]
    assert "seed" not in headers
    assert headers[-4:] == ["p", "vs ★", "p vs ★", "time"]


def test_a_seed_without_a_score_is_counted(seeds):
    (seeds / "3" / "result.json").unlink()
    assert "1 of 2" in text_of(read_sweep(seeds), 100)


def test_format_has_columns_where_it_changed_much(make_sweep):
    directory = make_sweep([("shots=2", {"base": 0.4, "trained": 0.8}), ("shots=4", {})])
    assert not any("form" in header for header, _ in table.columns(read_sweep(directory)))
    file = directory / "0" / "result.json"
    result = json.loads(file.read_text())
    result["base"] |= {"format_rate": 0.5, "well_formed_accuracy": None}
    result["trained"] |= {"format_rate": 0.96, "well_formed_accuracy": 0.83}
    file.write_text(json.dumps(result))
    line = next(line for line in text_of(read_sweep(directory), 120).splitlines() if "96" in line)
    assert "50 → 96" in line
    assert "- → 83" in line


@pytest.mark.parametrize(
    "values",
    [
        [f"/data/models/organisation/A-Very-Long-Name-Of-A-Model-7B-v0.{n}" for n in (1, 2)],
        ["x" * 60 + "1", "x" * 60 + "2"],
        [f"[{'1,' * 40}1]", f"[{'1,' * 40}2]"],
    ],
)
def test_at_80_columns_what_differs_is_never_cut(make_sweep, values):
    jobs = [(f"dataset.path={value} shots={n}", {}) for value in values for n in (0, 4)]
    comparison = read_sweep(make_sweep(jobs))
    text = text_of(comparison, 80)
    assert all(len(line.rstrip()) <= 80 for line in text.splitlines())
    whole = re.sub(r"\s|│", "", text)
    for value in values:
        end = shown(comparison.rows[2 * values.index(value)].varied["dataset.path"]).split("-")[-1]
        assert all(part in whole for part in re.findall(r"\w+", end[-5:]))


def test_which_sweep_a_row_is_from(make_sweep, make_run, tmp_path):
    first = make_sweep([("shots=0", {}), ("shots=2", {})], name="first")
    second = make_sweep([("shots=4", {})], name="second")
    make_run(tmp_path / "single", ["shots=8"])
    comparison = read_runs([first, second, tmp_path / "single"], tmp_path)
    cells = dict(table.columns(comparison))
    assert [cells["from"](recipe) for recipe in comparison.recipes] == ["A", "A", "B", "C"]
    assert [n for n in table.notes(comparison) if re.match("[A-Z]: ", n)] == [
        f"A: {first}",
        f"B: {second}",
        f"C: {tmp_path / 'single'}",
    ]


def test_many_failures_are_counted_not_listed(make_sweep):
    jobs = [(f"shots={n}", {"state": "failed", "error": "boom"}) for n in range(30)]
    notes = table.notes(read_sweep(make_sweep(jobs)))
    assert len(notes) == 9
    assert notes[-1] == "and 22 more ended without a result"


def test_markup_in_a_setting_is_text(make_sweep):
    jobs = [("dataset.name='[red]x'", {}), ("dataset.name=y", {})]
    assert "[red]x" in text_of(read_sweep(make_sweep(jobs)))


def test_pruned_runs_show_what_they_had_reached_and_are_no_scores(make_sweep):
    jobs = [("shots=0", {}), ("shots=2", {"state": "pruned", "error": "fewer than run 0"})]
    comparison = read_sweep(make_sweep(jobs))
    text = text_of(comparison)
    assert f"pruned 12.5 {table.LAST_LOOK}" in text
    notes = table.notes(comparison)
    assert "run 1 (shots=2) pruned: fewer than run 0" in notes
    assert any(note.startswith(table.LAST_LOOK) for note in notes)
    assert comparison.best.index == 0
    assert comparison.rows[1].score is None
    assert comparison.rivals == []


def test_a_mean_of_the_seeds_that_were_left_is_said_to_flatter(make_sweep):
    seeds = [
        ("shots=2 seed=1", {}),
        ("shots=2 seed=2", {"state": "pruned"}),
        ("shots=4 seed=1", {}),
        ("shots=4 seed=2", {}),
    ]
    notes = table.notes(read_sweep(make_sweep(seeds)))
    (flattered,) = [note for note in notes if "too high" in note]
    assert flattered.startswith("runs 0,1: seeds that did badly were pruned")
