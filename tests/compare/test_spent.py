import pytest

from rlvr.compare.comparison import read_sweep
from rlvr.compare.spent import spent


def test_the_mean_over_seeds(make_sweep):
    jobs = [
        ("shots=2 seed=1", {"base": 0.3, "trained": 0.5, "cost": 1.0}),
        ("shots=2 seed=2", {"base": 0.3, "trained": 0.7, "cost": 3.0}),
        ("shots=8 seed=1", {"base": 0.3, "trained": 0.2}),
        ("shots=8 seed=2", {"state": "failed"}),
    ]
    first, second = spent(read_sweep(make_sweep(jobs)).recipes)
    assert (first.points, first.seconds, first.cost) == (pytest.approx(30), 125, 2)
    assert first.a_point(first.cost) == (pytest.approx(2 / 30), None, None)
    assert second.points == pytest.approx(-10)
    assert second.a_point(second.seconds) is None
    assert second.cost is None


def test_without_a_gain_in_the_interval_a_point_may_take_any_amount(example):
    found = spent(read_sweep(example).recipes)
    for one in found:
        assert one.low < one.points < one.high
        told = one.a_point(one.seconds)
        if one.points <= 0:
            assert told is None
            continue
        middle, least, most = told
        assert least == pytest.approx(one.seconds / one.high)
        assert least < middle
        assert (most is None) is (one.low <= 0)
    assert {one.low <= 0 for one in found if one.points > 0} == {True, False}
