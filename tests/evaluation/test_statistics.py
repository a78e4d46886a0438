"""Intervals and tests against statsmodels, against their definitions, and in simulations.

The simulations are seeded. Where a rate is compared with 5 %, it is that of the many draws shown.
"""

import gc
import itertools
import subprocess
import sys
import time
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from rlvr.evaluation.statistics import (
    Interval,
    detectable_difference,
    difference_interval,
    holm,
    mean_interval,
    paired_test,
    pass_at_k,
    wilson,
)

EXACTLY = 1e-12
COUNTS = st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
SHARES = st.tuples(st.integers(1, 500), st.integers(1, 8)).flatmap(
    lambda sizes: st.tuples(
        st.integers(0, sizes[0] * sizes[1]).map(lambda hits: hits / sizes[1]), st.just(sizes[0])
    )
)
OUTCOMES = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=400)


def draw_pairs(rng: np.random.Generator, n: int, better: float, worse: float) -> tuple:
    """(n,) base and trained, where trained alone is right in `better`, base alone in `worse`."""
    which = rng.random(n)
    won, lost = which < better, (better <= which) & (which < better + worse)
    both = rng.random(n) < 0.5
    return np.where(won, 0, np.where(lost, 1, both)), np.where(won, 1, np.where(lost, 0, both))


def p_value(base: np.ndarray, trained: np.ndarray) -> float:
    """The test's p value; the many draws of a simulation have few different counts."""
    return _p_value(int((base > trained).sum()), int((trained > base).sum()))


@cache
def _p_value(lost: int, won: int) -> float:
    return paired_test([1] * lost + [0] * won, [0] * lost + [1] * won).p_value


@given(COUNTS | SHARES)
def test_wilson_is_that_of_statsmodels_for_whole_and_shared_successes(case):
    successes, n = case
    ours, theirs = wilson(successes, n), proportion_confint(successes, n, 0.05, "wilson")
    assert (ours.low, ours.high) == pytest.approx(theirs, rel=0, abs=EXACTLY)
    assert 0 <= ours.low <= successes / n <= ours.high <= 1


def test_wilson_of_the_published_numbers():
    interval = wilson(11, 100)
    assert (round(interval.low, 3), round(interval.high, 3)) == (0.063, 0.186)


@pytest.mark.parametrize("n", [20, 100, 1319])
def test_wilson_covers_in_95_percent_of_draws(n):
    rng = np.random.default_rng(0)
    chances = rng.random(10_000)
    intervals = [wilson(int(hits), n) for hits in rng.binomial(n, chances)]
    covered = [i.low <= p <= i.high for i, p in zip(intervals, chances, strict=True)]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.01)


@given(OUTCOMES)
def test_paired_test_is_the_exact_mcnemar_test_of_statsmodels(pairs):
    result = paired_test(*zip(*pairs, strict=True))
    lost, won = pairs.count((True, False)), pairs.count((False, True))
    table = [[pairs.count((True, True)), lost], [won, pairs.count((False, False))]]
    assert (result.n, result.base_only, result.trained_only) == (len(pairs), lost, won)
    expected = mcnemar(table, exact=True).pvalue if won + lost else 1.0
    assert result.p_value == pytest.approx(expected, rel=0, abs=EXACTLY)


def test_paired_test_counts_shares_by_which_is_larger():
    result = paired_test([0.25, 0.5, 1.0], [0.75, 0.5, 0.5])
    assert (result.base_only, result.trained_only, result.p_value) == (1, 1, 1.0)


@pytest.mark.parametrize("compare", [paired_test, difference_interval])
def test_different_questions_are_refused(compare):
    with pytest.raises(ValueError, match="shorter"):
        compare([1, 0], [1])


@pytest.mark.parametrize(("n", "change"), [(50, 0.1), (200, 0.02), (200, 0.15), (1319, 0.1)])
def test_the_paired_test_finds_no_difference_where_there_is_none(n, change):
    rng = np.random.default_rng(0)
    found = [p_value(*draw_pairs(rng, n, change, change)) <= 0.05 for _ in range(4000)]
    assert np.mean(found) <= 0.05


def test_the_difference_interval_is_the_bootstrap_of_its_definition():
    """Resampling questions is drawing how often each kind of difference occurs."""
    base, trained = draw_pairs(np.random.default_rng(1), 1319, 0.15, 0.1)
    kinds, counts = np.unique(trained - base, return_counts=True)
    draws = np.random.default_rng(2).multinomial(1319, counts / 1319, size=200_000) @ kinds / 1319
    found = difference_interval(base, trained)
    assert (found.low, found.high) == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.0015)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=60))
def test_the_difference_interval_holds_the_difference_and_turns_with_it(pairs):
    base, trained = ([hits / 4 for hits in side] for side in zip(*pairs, strict=True))
    found, turned = difference_interval(base, trained), difference_interval(trained, base)
    assert found == difference_interval(base, trained)
    assert found.low <= np.mean(trained) - np.mean(base) <= found.high
    differences = np.subtract(trained, base)
    step = np.ptp(differences) / len(pairs)  # one question drawn instead of another
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low), abs=step + 1e-9)


def test_the_difference_interval_covers_in_95_percent_of_draws():
    rng = np.random.default_rng(0)
    found = [difference_interval(*draw_pairs(rng, 80, 0.2, 0.1)) for _ in range(400)]
    assert np.mean([i.low <= 0.1 <= i.high for i in found]) == pytest.approx(0.95, abs=0.02)


def test_the_difference_interval_of_nothing_and_of_one_kind():
    assert difference_interval([1], [0]) == difference_interval([], []) == Interval(-1.0, 1.0)
    assert difference_interval([1, 0, 1], [1, 0, 1]) == Interval(0.0, 0.0)
    assert difference_interval(np.array([False] * 2), np.array([True] * 2)) == Interval(1.0, 1.0)


def test_the_difference_interval_of_all_of_gsm8k_is_fast():
    base, trained = draw_pairs(np.random.default_rng(0), 1319, 0.1, 0.1)
    difference_interval(base, trained)  # imports scipy
    start = time.perf_counter()
    difference_interval(base, trained)
    assert time.perf_counter() - start < 0.5


@pytest.mark.parametrize(("n", "discordance"), [(60, 0.4), (300, 0.2), (1319, 0.1), (1319, 0.0)])
def test_a_detectable_difference_is_shown_by_four_draws_in_five(n, discordance):
    difference = detectable_difference(n, discordance)
    share = max(discordance, difference)
    rng = np.random.default_rng(0)
    draws = (
        draw_pairs(rng, n, (share + difference) / 2, (share - difference) / 2) for _ in range(4000)
    )
    shown = [p_value(b, t) <= 0.05 and t.sum() > b.sum() for b, t in draws]
    assert np.mean(shown) == pytest.approx(0.8, abs=0.02)


def test_detectable_differences_shrink_with_questions_and_grow_with_noise():
    sizes = [detectable_difference(n, 0.2) for n in (6, 20, 100, 1319, 10_000)]
    assert sizes == sorted(sizes, reverse=True)
    noise = [detectable_difference(1319, share) for share in (0, 0.05, 0.3, 1)]
    assert noise == sorted(noise)
    # The usual approximation (Connor 1987) knows nothing of the exact test's caution.
    z, y, n, share = 1.959964, 0.841621, 10_000, 0.2
    approximate = next(
        d
        for d in np.arange(1e-4, 1, 1e-5)
        if (z * share**0.5 + y * (share - d * d) ** 0.5) ** 2 <= n * d * d
    )
    assert approximate < sizes[-1] < approximate * 1.01


@pytest.mark.parametrize("n", [0, 1, 5])
def test_too_few_questions_show_nothing(n):
    assert detectable_difference(n, 0.5) is None


@pytest.fixture(scope="module")
def _little_to_collect():
    """statsmodels collects garbage at each correction; what is imported by now is none."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("_little_to_collect")
@given(st.lists(st.floats(0, 1), max_size=30))
def test_holm_is_that_of_statsmodels(p_values):
    theirs = multipletests(p_values, method="holm")[1] if p_values else []
    assert holm(p_values) == pytest.approx(list(theirs), rel=0, abs=EXACTLY)


def test_holm_finds_no_winner_in_a_sweep_without_one():
    """Six runs against one base: their p values hang together, which Holm allows."""
    rng = np.random.default_rng(0)
    families = []
    for _ in range(2000):
        base = rng.random(300) < 0.4
        runs = [np.where(rng.random(300) < 0.3, rng.random(300) < 0.4, base) for _ in range(6)]
        families.append([p_value(base, run) for run in runs])
    uncorrected = np.mean([min(family) <= 0.05 for family in families])
    corrected = np.mean([min(holm(family)) <= 0.05 for family in families])
    assert uncorrected > 0.1
    assert corrected <= 0.05


def test_holm_is_not_more_careful_than_it_must_be():
    rng = np.random.default_rng(0)
    found = [min(holm(list(rng.random(8)))) <= 0.05 for _ in range(10_000)]
    assert 0.04 <= np.mean(found) <= 0.05


SAMPLED = st.integers(1, 7).flatmap(
    lambda samples: st.tuples(
        st.integers(0, samples),
        st.just(samples),
        st.integers(1, samples),
    )
)


@given(SAMPLED)
def test_pass_at_k_is_the_chance_that_a_draw_of_k_holds_a_right_one(case):
    correct, samples, k = case
    draws = list(itertools.combinations(range(samples), k))
    hits = sum(any(i < correct for i in draw) for draw in draws)
    expected = hits / len(draws)
    assert pass_at_k(correct, samples, k) == pytest.approx(expected, rel=0, abs=EXACTLY)


def test_pass_at_k_needs_k_samples():
    with pytest.raises(ValueError, match="at least 4 samples"):
        pass_at_k(1, 2, 4)


def test_a_mean_is_as_sure_as_its_questions_are_many_and_alike():
    few, many = mean_interval([0.0, 0.5, 1.0] * 5), mean_interval([0.0, 0.5, 1.0] * 100)
    assert few.low < many.low < 0.5 < many.high < few.high
    assert many.high - many.low == pytest.approx(2 * 1.96 * (1 / 6 / 300) ** 0.5, rel=0.05)


def test_importing_it_loads_no_scipy():
    code = "import sys, rlvr.evaluation.statistics; print({'scipy', 'numpy'} & sys.modules.keys())"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
