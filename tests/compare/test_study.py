"""The charts of a search, from a study.json as a sweep leaves it."""

import json

import pytest

from rlvr.compare import page, study
from rlvr.compare.comparison import read_sweep
from rlvr.sweep import study_record

RATE = "trainer.learning_rate"


def trial(number, value, rate, shots, state="complete", last=None):
    params = {RATE: rate, "shots": shots}
    last = [] if last is None else [last]
    return {"number": number, "state": state, "params": params, "value": value, "last": last}


@pytest.fixture
def sweep(make_sweep):
    directory = make_sweep([("shots=2", {}), ("shots=4", {})])
    trials = [
        trial(0, 0.5, 1e-4, "2"),
        trial(1, 0.8, 1e-3, "4"),
        trial(2, None, 1e-2, "4", "pruned", 0.1),
        trial(3, 0.7, 1e-4, "4"),
        trial(4, None, 1e-5, "2", "fail"),
    ]
    record = {"name": "mine", "direction": "maximize", "logarithmic": [RATE], "trials": trials}
    record["importances"] = {"shots": 0.25, RATE: 0.75}
    (directory / study_record.FILE).write_text(json.dumps(record))
    return directory


def test_each_trial_is_a_point_and_the_best_so_far_a_line(sweep):
    history = study.search(sweep)["charts"][0]
    trained, pruned, best = history.lines
    assert [(p.x, p.y) for p in trained.points] == [(0, 50), (1, 80), (3, 70)]
    assert [(p.x, p.y) for p in pruned.points] == [(2, 10)], "by its last look; failed ones not"
    assert [p.y for p in best.points] == [50, 80, 80]
    assert (trained.joined, best.joined) == (False, True)


def test_slices_are_along_each_setting(sweep):
    _, rate, shots = study.search(sweep)["charts"]
    assert [p.x for p in rate.lines[0].points] == pytest.approx([-4, -3, -4]), "logarithmic"
    assert rate.x_names == {-5: "1e-5", -4: "1e-4", -3: "1e-3", -2: "0.01"}
    assert [p.x for p in shots.lines[0].points] == [0, 1, 1]
    assert shots.x_names == {0: "2", 1: "4"}


def test_the_page_has_charts_importances_and_the_study(sweep):
    text = page.render(read_sweep(sweep))
    assert '<h2 id="search">' in text
    assert text.index('<th scope="row">lr</th><td class="n">0.75</td>') < text.index(
        '<th scope="row">shots</th><td class="n">0.25</td>'
    )
    assert "trial 2, pruned: 10.0 %" in text
    (sweep / study_record.FILE).unlink()
    assert '<h2 id="search">' not in page.render(read_sweep(sweep))
