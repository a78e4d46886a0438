import json

import pytest

from rlvr.compare.comparison import read_sweep
from rlvr.compare.curves import against_shots, learning_curves


def test_lines_are_of_what_differs_besides_shots_and_seed(make_sweep):
    rows = [
        (f"shots={s} trainer.learning_rate={lr} seed={i}", {"base": 0.1 * s, "trained": 0.5})
        for s in (0, 2, 8)
        for lr in ("1e-4", "1e-3")
        for i in (1, 2)
    ]
    lines, steps = against_shots(read_sweep(make_sweep(rows)).rows, "accuracy")
    assert [line.label for line in lines] == [
        "base, before training",
        "trained, lr=1e-4",
        "trained, lr=1e-3",
    ]
    assert steps == {0.0: "0", 1.0: "2", 2.0: "8"}
    assert [(p.x, round(p.y)) for p in lines[0].points] == [(0, 0), (1, 20), (2, 80)]
    assert [p.x for p in lines[1].points] == [0, 0, 1, 1, 2, 2]
    assert all(p.low < p.y < p.high for line in lines[1:] for p in line.points)


@pytest.mark.parametrize("steps", [1, 7, 100, 50_000])
def test_curves_are_thinned_to_means_that_keep_the_ends(make_sweep, steps):
    directory = make_sweep([("shots=2", {})])
    log = [{"step": i, "reward/total": float(i)} for i in range(steps)]
    log.append({"step": steps, "reward/total": float("nan"), "perf/seconds": 1.0})
    (directory / "0" / "metrics.jsonl").write_text("\n".join(map(json.dumps, log)))
    ((title, (line,)),) = learning_curves(read_sweep(directory).rows).items()
    assert title == "reward"
    assert len(line.points) <= 3000
    assert all(p.x == p.y for p in line.points)
    assert line.points[0].x <= steps / 1000
    assert line.points[-1].x >= steps - 1 - steps / 1000


def test_runs_that_logged_nothing_have_no_curves(make_sweep):
    assert learning_curves(read_sweep(make_sweep([("shots=2", {})])).rows) == {}
