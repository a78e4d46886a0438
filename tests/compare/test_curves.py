import json

import pytest

from rlvr.compare.comparison import read_sweep
from rlvr.compare.curves import against_shots, learning_curves
from rlvr.compare.logs import HealthWarning


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
    ((title, (panel,)),) = learning_curves(read_sweep(directory).rows).items()
    (line,) = panel.lines
    assert (title, panel.title) == ("reward", "")
    assert len(line.points) <= 3000
    assert all(p.x == p.y for p in line.points)
    assert line.points[0].x <= steps / 1000
    assert line.points[-1].x >= steps - 1 - steps / 1000


def test_runs_that_logged_nothing_have_no_curves(make_sweep):
    assert learning_curves(read_sweep(make_sweep([("shots=2", {})])).rows) == {}


def test_many_runs_have_a_chart_for_each_number_of_shots(example):
    rows = read_sweep(example).rows
    panels = learning_curves(
        rows, [HealthWarning(4, "step 12", "a"), HealthWarning(9, "step 3", "b")]
    )
    reward = panels["reward"]
    assert [panel.title for panel in reward] == ["0 shots", "2 shots", "4 shots", "8 shots"]
    assert [[line.end for line in panel.lines] for panel in reward][1] == [*"6789", "10", "11"]
    assert {panel.span for panel in reward} == {reward[0].span}
    looks = {line.label: (line.colour, line.dashes) for panel in reward for line in panel.lines}
    assert len(looks) == len(set(looks.values())) == 6
    assert looks["lr=1e-5, seed=1"][0] == looks["lr=1e-5, seed=2"][0]
    flags = [(line.end, f.number) for p in reward for line in p.lines for f in line.flags]
    assert flags == [("4", "1"), ("9", "2")]
    assert not any(line.flags for p in panels["tokens a completion"] for line in p.lines)


def test_of_more_runs_than_a_chart_holds_the_best_are_drawn(make_sweep):
    directory = make_sweep([(f"seed={i}", {}) for i in range(20)])
    for run in range(20):
        (directory / str(run) / "metrics.jsonl").write_text('{"step": 1, "reward/total": 1}')
    rows = read_sweep(directory).rows
    (panel,) = learning_curves(rows[::-1])["reward"]
    assert [line.end for line in panel.lines] == [str(run) for run in range(6, 20)]
    assert len({(line.colour, line.dashes) for line in panel.lines}) == 14
