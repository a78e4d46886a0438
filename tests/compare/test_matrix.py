"""Training shots x evaluation shots: the table at 80 columns, the files, the picture."""

import csv
import io
import json

import pytest
from rich.console import Console

from rlvr.compare import page
from rlvr.compare.comparison import read_sweep
from rlvr.compare.matrix import present, read_lines
from rlvr.errors import UserError
from rlvr.evaluation.command import Cell
from rlvr.evaluation.score import Score

SHOTS = (0, 2, 4, 8)


def cell(runs, trained, asked, accuracy):
    return Cell(
        tuple(runs), trained, asked, Score(accuracy, accuracy - 0.1, accuracy + 0.1, 200, 0)
    )


def printed(cells, folder):
    console = Console(width=80, file=io.StringIO(), record=True)
    present(cells, folder, console)
    return console.export_text()


def cells_of(runs, bases):
    return [
        *(cell(runs_, None, asked, 0.2) for runs_ in bases for asked in SHOTS),
        *(cell([run], trained, asked, 0.5) for run, trained in runs for asked in SHOTS),
    ]


def rows_of(text):
    return [line for line in text.splitlines() if line.split()[:1] and "shots" in line]


def test_base_stands_first_and_runs_in_the_order_of_their_shots(make_sweep):
    sweep = make_sweep([("shots=8", {}), ("shots=2", {}), ("shots=4", {})])
    text = printed(cells_of([("0", 8), ("1", 2), ("2", 4)], [("0", "1", "2")]), sweep)
    body = [line.split() for line in text.splitlines() if "trained" in line or " shots" in line]
    assert [words[0] for words in body[-4:]] == ["base", "1", "2", "0"]
    assert "settings" not in text, "nothing but shots differs"
    assert "[40.0, 60.0]" in text
    assert "…" not in text
    for name in ("evaluations.png", "evaluations.csv"):
        assert f"{sweep / name}" in text.replace("\n", "")
    assert f"rlvr report {sweep}" in text


def test_runs_that_differ_in_more_than_shots_are_named(make_sweep):
    sweep = make_sweep(
        [
            (f"shots={shots} trainer.learning_rate={rate} seed={seed}", {})
            for shots, rate, seed in ((2, "1e-4", 1), (2, "1e-3", 1), (2, "1e-4", 2))
        ]
    )
    text = printed(cells_of([("0", 2), ("1", 2), ("2", 2)], [("0", "1"), ("2",)]), sweep)
    found = json.loads((sweep / "evaluations.json").read_text())
    assert list(dict.fromkeys((c["run"], c["label"]) for c in found)) == [
        ("base", "seed=1"),
        ("base", "seed=2"),
        ("0", "lr=1e-4, seed=1"),
        ("1", "lr=1e-3, seed=1"),
        ("2", "lr=1e-4, seed=2"),
    ]
    assert "lr=" in text
    assert "…" not in text


def test_the_files_hold_each_cell(make_sweep):
    sweep = make_sweep([("shots=2", {}), ("shots=4", {})])
    printed(cells_of([("0", 2), ("1", 4)], [("0", "1")]), sweep)
    rows = list(csv.DictReader((sweep / "evaluations.csv").open()))
    assert len(rows) == 12
    assert (rows[0]["run"], rows[0]["train_shots"], rows[0]["accuracy"]) == ("base", "", "0.2")
    assert (rows[-1]["run"], rows[-1]["eval_shots"], rows[-1]["n"]) == ("1", "8", "200")
    assert (sweep / "evaluations.png").read_bytes().startswith(b"\x89PNG")


def test_the_report_has_the_base_row(make_sweep):
    sweep = make_sweep([("shots=2", {}), ("shots=4", {})])
    printed(cells_of([("0", 2), ("1", 4)], [("0", "1")]), sweep)
    section = page.render(read_sweep(sweep)).partition('id="matrix"')[2].partition("</section>")[0]
    assert section.count('<th scope="row">') == 3
    assert '<th scope="row">base</th><td>not trained</td>' in section


def test_a_run_evaluated_alone_and_with_its_sweep_is_there_once(make_sweep):
    sweep = make_sweep([("shots=2", {}), ("shots=4", {})])
    printed(cells_of([("0", 2)], [("0",)]), sweep / "0")
    assert [line.run for line in read_lines([sweep, sweep / "0"])] == ["base", "0"]
    printed(cells_of([("0", 2), ("1", 4)], [("0", "1")]), sweep)
    assert [line.run for line in read_lines([sweep, sweep / "0"])] == ["base", "0", "1"]


def test_a_file_of_something_else_is_named(tmp_path):
    (tmp_path / "evaluations.json").write_text('[{"run": 3}]')
    with pytest.raises(UserError, match=r"evaluations\.json is not what rlvr evaluate writes"):
        read_lines([tmp_path])
