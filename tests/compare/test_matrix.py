"""Training shots x evaluation shots: the table at 80 columns, the files, the picture."""

import csv
import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from rlvr.compare import page
from rlvr.compare.comparison import read_sweep
from rlvr.compare.matrix import of_results, over_seeds, present, read_lines
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


LINEAR = "8 to 0, linear until 50 %"


def scheduled(sweep, run, both):
    """A finished run whose shots fell from 8 to 0, `both` the trained accuracies with 0 and 8."""
    file = sweep / run / "result.json"
    known = json.loads(file.read_text())
    ends = {
        "base": {**known["base"], "accuracy": 0.1},
        "trained": {**known["trained"], "accuracy": both[1]},
        "paired": known["paired"],
    }
    known |= {"shots": 0, "schedule": LINEAR, "benchmarks": {"shots_8": ends}}
    known["trained"]["accuracy"] = both[0]
    file.write_text(json.dumps(known))


def test_a_schedule_is_a_row_of_its_own(make_sweep):
    sweep = make_sweep([("shots=8", {}), ("shots=8 shots_schedule=linear", {})])
    cells = [
        *(cell(["0", "1"], None, asked, 0.2) for asked in (0, 8)),
        *(cell(["0"], 8, asked, 0.5) for asked in (0, 8)),
        *(replace(cell(["1"], 8, asked, 0.6), schedule=LINEAR) for asked in (0, 8)),
    ]
    text = printed(cells, sweep)
    assert "settings" not in text, "what tells them apart stands under `trained with`"
    assert "8 shots" in text
    assert "linear until" in text
    lines = read_lines([sweep])
    assert [line.trained for line in lines] == ["not trained", "8 shots", LINEAR]


def test_seeds_are_one_row_with_their_mean(make_sweep):
    """Two recipes of three seeds, each with a base model that was asked its own questions."""
    seeds = (1, 2, 3)
    sweep = make_sweep([(f"shots={shots} seed={s}", {}) for shots in (0, 4) for s in seeds])
    cells = [cell([str(i), str(i + 3)], None, 4, 0.1 * (i + 1)) for i in range(3)]
    cells += [cell([str(i)], 4 * (i // 3), 4, 0.5 + 0.1 * (i % 3)) for i in range(6)]
    printed(cells, sweep)
    lines = over_seeds(read_lines([sweep]))
    assert [(line.name, line.trained) for line in lines] == [
        ("base", "not trained"), ("runs 0,1,2", "0 shots"), ("runs 3,4,5", "4 shots"),
    ]  # fmt: skip
    base, *trained = (line.scores[4] for line in lines)
    assert base["accuracy"] == pytest.approx(0.2)
    for found in trained:
        assert found["accuracy"] == pytest.approx(0.6)
        assert found["low"] < 0.5 < 0.7 < found["high"], "three seeds that lie 10 points apart"


def test_one_seed_is_left_as_it_is(make_sweep):
    sweep = make_sweep([("shots=2", {}), ("shots=4", {})])
    printed(cells_of([("0", 2), ("1", 4)], [("0", "1")]), sweep)
    assert over_seeds(read_lines([sweep])) == read_lines([sweep])


def test_without_rlvr_evaluate_the_report_has_both_ends_of_schedules(make_sweep):
    sweep = make_sweep(
        [("shots=0", {}), ("shots=8", {}), ("shots=8 shots_schedule=linear", {"trained": 0.7})]
    )
    assert not of_results(read_sweep(sweep).rows), "no shots have moved"
    scheduled(sweep, "2", (0.7, 0.4))
    base, *trained = of_results(read_sweep(sweep).rows)
    assert sorted(base.scores) == [0, 8]
    assert [(line.run, line.trained, line.train_shots) for line in trained] == [
        ("0", "0 shots", 0), ("1", "8 shots", 8), ("2", LINEAR, 8),
    ]  # fmt: skip
    assert {asked: s["accuracy"] for asked, s in trained[2].scores.items()} == {0: 0.7, 8: 0.4}
    section = page.render(read_sweep(sweep)).partition('id="matrix"')[2].partition("</section>")[0]
    assert f"<td>{LINEAR}</td>" in section
    assert section.count("not asked") == 2, "each of the fixed ones at the other end"
