"""Means over seeds against analysis of variance, by hand, and in simulations (seeded)."""

import math
from statistics import mean, variance

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rlvr.compare import seeds
from rlvr.compare.seeds import Estimate, difference, estimate, estimate_from_scores, pool
from rlvr.evaluation.statistics import holm, wilson

MATRIX = st.integers(2, 5).flatmap(
    lambda count: st.lists(
        st.lists(st.integers(0, 2).map(lambda hits: hits / 2), min_size=count, max_size=count),
        min_size=3,
        max_size=30,
    )
)


def columns(matrix) -> list[dict[str, float]]:
    """Answers of each seed, from (questions, seeds)."""
    found = np.asarray(matrix, float)
    return [{str(i): float(v) for i, v in enumerate(column)} for column in found.T]


@given(MATRIX)
def test_of_the_same_questions_it_is_the_two_way_analysis_of_variance(matrix):
    y = np.asarray(matrix, float)
    n, count = y.shape
    found = estimate(columns(matrix))
    residual = y - y.mean(1, keepdims=True) - y.mean(0, keepdims=True) + y.mean()
    mean_square = (residual**2).sum() / ((n - 1) * (count - 1))
    assert found.mean == pytest.approx(y.mean())
    assert found.within == pytest.approx(y.mean(1).var(ddof=1) / n)
    assert found.apart == pytest.approx(y.mean(0).var(ddof=1))
    assert found.explained == pytest.approx(mean_square / n, abs=1e-12)


def test_seeds_that_asked_different_questions():
    """By hand: means 1/2 and 1; the second seed's questions add nothing to the error."""
    found = estimate([{"a": 1.0, "b": 0.0}, {"c": 1.0, "d": 1.0}])
    assert found.mean == 0.75
    assert found.n == 4
    assert found.errors == {"a": 0.125, "b": -0.125, "c": 0, "d": 0}
    assert found.within == pytest.approx(2 * 0.125**2 * 4 / 3)
    assert found.apart == pytest.approx(0.125)
    # Each seed alone: 2 * 0.25**2 * 2 and 0.
    assert found.explained == pytest.approx(0.25 - 2 * found.within)


def test_the_variance_between_seeds_is_pooled_and_an_outlying_recipe_keeps_its_own():
    usual = [Estimate(0.5, 100, 1e-3, seeds=2, apart=a, explained=1e-4) for a in (1e-4, 3e-4, 5e-4)]
    outlying = Estimate(0.5, 100, 1e-3, seeds=2, apart=0.5, explained=1e-4)
    single = Estimate(0.4, 100, 1e-3)
    first, *_, apart, alone = pool([*usual, outlying, single])
    assert first.between == pytest.approx((3e-4 - 1e-4) / 2)
    assert first.pools == {0: (pytest.approx(3e-4 / 2), 3)}
    assert apart.between == pytest.approx((0.5 - 1e-4) / 2)
    assert apart.pools == {1: (0.25, 1)}
    assert alone.between == pytest.approx(2e-4)
    both = difference(first, alone)
    assert both.pools == {0: (pytest.approx(3e-4 * 1.5), 3)}
    assert both.between == pytest.approx(3e-4)
    expected = 1.1e-3**2 / (1e-3**2 / 99 + 1.5e-4**2 / 3)
    assert first.freedom == pytest.approx(expected)


def test_no_variance_is_less_than_none():
    (found,) = pool([Estimate(0.5, 10, 1e-3, seeds=2, apart=1e-4, explained=2e-4)])
    assert found.between == 0


def test_the_p_value_of_one_seed_is_the_paired_t_test():
    rng = np.random.default_rng(0)
    ours, theirs = (columns(rng.random((50, 1)) < share)[0] for share in (0.6, 0.4))
    found = difference(estimate([ours]), estimate([theirs]))
    oracle = stats.ttest_rel(list(ours.values()), list(theirs.values()))
    low, high = oracle.confidence_interval()
    assert seeds.p_value(found) == pytest.approx(oracle.pvalue)
    assert seeds.interval(found).low == pytest.approx(low)
    assert seeds.interval(found).high == pytest.approx(high)


def test_nothing_differs():
    same = columns([[1], [0], [1]])[0]
    assert seeds.p_value(difference(estimate([same]), estimate([same]))) == 1
    assert seeds.p_value(Estimate(0.5, 3, 0.0)) == 0


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_where_all_answers_are_alike_the_interval_is_wilsons_of_the_questions(right):
    found = seeds.accuracy_interval(estimate(columns([[right, right]] * 200)))
    assert found.high - found.low == pytest.approx(
        wilson(200 * right, 200).high - wilson(200 * right, 200).low, rel=0.02
    )


@pytest.mark.parametrize("right", [0.0, 1.0])
@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_a_recipe_that_is_all_wrong_or_right_among_others_has_intervals(right, spread):
    rng = np.random.default_rng(2)
    other = columns(rng.random((150, 2)) < [0.5 - spread, 0.5 + spread])
    alike, different = pool([estimate(columns([[right, right]] * 150)), estimate(other)])
    interval = seeds.accuracy_interval(alike)
    assert 0 <= interval.low <= right <= interval.high <= 1
    assert 0.01 < interval.high - interval.low < 0.5
    for found in (difference(alike, different), difference(alike, alike)):
        bounds = seeds.interval(found)
        assert bounds.low <= found.mean <= bounds.high
        assert 0 <= seeds.p_value(found) <= 1


def test_of_one_seed_the_interval_is_about_wilsons():
    found = seeds.accuracy_interval(estimate(columns([[1]] * 120 + [[0]] * 80)))
    expected = wilson(120, 200)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-3)


def test_scores_alone_give_a_wider_interval():
    rng = np.random.default_rng(1)
    answers = columns(rng.random((300, 3)) < 0.6)
    scores = [{"accuracy": mean(shares.values()), "n": 300} for shares in answers]
    (known,), (unknown,) = pool([estimate(answers)]), pool([estimate_from_scores(scores)])
    assert unknown.mean == pytest.approx(known.mean)
    assert unknown.apart == pytest.approx(variance(score["accuracy"] for score in scores))
    inner, outer = seeds.accuracy_interval(known), seeds.accuracy_interval(unknown)
    assert outer.low < inner.low < inner.high < outer.high


def test_a_detectable_difference_is_shown_in_four_of_five():
    found = Estimate(0.0, 10_000, 1e-4)
    assert seeds.detectable(found) == pytest.approx((1.95996 + 0.84162) * 0.01, rel=1e-3)


def sweep_of(rng, recipes: int, count: int, spread: float, questions: int = 60) -> list[Estimate]:
    """Recipes that are all the same: questions of unlike difficulty, seeds of unlike luck."""
    difficulty = rng.normal(0, 2, (questions, 1))
    return pool(
        [
            estimate(columns(rng.random((questions, count)) < chance))
            for chance in (
                1 / (1 + np.exp(-difficulty - rng.normal(0, spread, (1, count))))
                for _ in range(recipes)
            )
        ]
    )


@pytest.mark.parametrize("spread", [0.0, 0.4])
@pytest.mark.parametrize(("recipes", "count"), [(4, 2), (6, 3)])
def test_intervals_cover_and_equal_recipes_are_not_told_apart(recipes, count, spread):
    rng = np.random.default_rng(0)
    covered, different, told = [], [], []
    for _ in range(400):
        found = sweep_of(rng, recipes, count, spread)
        interval = seeds.accuracy_interval(found[0])
        covered.append(interval.low <= 0.5 <= interval.high)
        different.append(seeds.p_value(difference(found[0], found[1])) <= 0.05)
        best = max(found, key=lambda e: e.mean)
        p_values = [seeds.p_value(difference(best, e)) for e in found if e is not best]
        pairs = math.comb(recipes, 2)
        told.append(min(holm(p_values + [1.0] * (pairs - len(p_values)))) <= 0.05)
    assert 0.93 <= np.mean(covered) <= 0.99
    assert np.mean(different) <= 0.05 + 0.02  # 400 draws
    assert np.mean(told) <= 0.05 + 0.02


def test_seeds_that_do_not_count_are_noticed():
    """With questions alone as clusters, equal recipes would be told apart far too often."""
    rng = np.random.default_rng(0)
    pairs = [sweep_of(rng, 2, 3, 1.0, questions=400)[:2] for _ in range(100)]
    naive = [difference(*pair) for pair in pairs]
    wrong = [abs(d.mean) > 1.96 * d.within**0.5 for d in naive]
    right = [seeds.p_value(d) <= 0.05 for d in naive]
    assert np.mean(wrong) > 0.2
    assert np.mean(right) <= 0.08
