"""Intervals, the paired test and pass@k against scipy and against their definitions."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from rlvr.evaluation.statistics import paired_test, pass_at_k, wilson


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_agrees_with_scipy(case):
    successes, n = case
    ours = wilson(successes, n)
    theirs = binomtest(successes, n).proportion_ci(0.95, method="wilson")
    assert ours.low == pytest.approx(theirs.low, abs=1e-9)
    assert ours.high == pytest.approx(theirs.high, abs=1e-9)
    assert 0 <= ours.low <= successes / n <= ours.high <= 1


def test_wilson_of_the_published_numbers():
    interval = wilson(11, 100)
    assert (round(interval.low, 3), round(interval.high, 3)) == (0.063, 0.186)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=400))
def test_paired_test_is_mcnemars_exact_test(pairs):
    base, trained = zip(*pairs, strict=True)
    result = paired_test(base, trained)
    lost, won = pairs.count((True, False)), pairs.count((False, True))
    expected = binomtest(won, won + lost).pvalue if won + lost else 1.0
    assert (result.n, result.base_only, result.trained_only) == (len(pairs), lost, won)
    assert result.p_value == pytest.approx(expected, rel=1e-9)


def test_paired_test_counts_shares_by_which_is_larger():
    result = paired_test([0.25, 0.5, 1.0], [0.75, 0.5, 0.5])
    assert (result.base_only, result.trained_only, result.p_value) == (1, 1, 1.0)


def test_paired_test_refuses_different_questions():
    with pytest.raises(ValueError, match="shorter"):
        paired_test([1, 0], [1])


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_pass_at_k_is_the_chance_that_a_draw_of_k_holds_a_right_one(k):
    samples, right = 5, 2
    draws = list(itertools.combinations(range(samples), k))
    hits = sum(any(i < right for i in draw) for draw in draws)
    assert pass_at_k([right], samples, k) == pytest.approx(hits / len(draws))


def test_pass_at_k_needs_k_samples():
    with pytest.raises(ValueError, match="at least 4 samples"):
        pass_at_k([1], 2, 4)
