import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar

from rlvr.compare.differences import detectable, of_pairs, of_seeds
from rlvr.compare.seeds import difference, estimate
from rlvr.evaluation.statistics import detectable_difference


def test_pairs_are_matched_by_question_and_what_one_lacks_is_left_out():
    ours = {"a": 1.0, "b": 1.0, "c": 0.0, "only ours": 1.0}
    theirs = {"c": 0.0, "b": 0.0, "a": 1.0, "only theirs": 0.0}
    found = of_pairs(ours, theirs)
    assert (found.n, found.mean, found.p_value) == (3, pytest.approx(1 / 3), 1.0)


def test_pairs_have_the_exact_test_and_the_bootstrap_interval():
    rng = np.random.default_rng(0)
    ours, theirs = ({str(i): float(rng.random() < p) for i in range(200)} for p in (0.7, 0.5))
    found = of_pairs(ours, theirs)
    won = sum(ours[q] > theirs[q] for q in ours)
    lost = sum(ours[q] < theirs[q] for q in ours)
    assert found.p_value == pytest.approx(mcnemar([[0, lost], [won, 0]], exact=True).pvalue)
    assert found.mean == pytest.approx((won - lost) / 200)
    half = 1.96 * np.std([ours[q] - theirs[q] for q in ours]) / 200**0.5
    assert (found.low, found.high) == pytest.approx(
        (found.mean - half, found.mean + half), abs=0.01
    )


def test_without_a_common_question_there_is_no_difference():
    assert of_pairs({"a": 1.0}, {"b": 1.0}) is None


def test_several_seeds_have_students_interval_around_the_difference():
    ours, theirs = (
        estimate([{"a": 1.0, "b": 0.0, "c": 1.0}]),
        estimate([{"a": 0.0, "b": 0.0, "c": 1.0}]),
    )
    found = of_seeds(difference(ours, theirs), 3)
    assert (found.mean, found.n) == (pytest.approx(1 / 3), 3)
    assert (found.low + found.high) / 2 == pytest.approx(1 / 3)
    assert found.p_value == pytest.approx(0.4226, abs=1e-4)  # t = 1 with 2 degrees of freedom


def test_what_is_detectable_follows_from_how_often_two_differ():
    ours = {str(i): 1.0 for i in range(100)}
    theirs = {str(i): float(i >= 20) for i in range(100)}
    assert detectable(ours, theirs) == detectable_difference(100, 0.2)
    assert detectable({"a": 1.0}, {"a": 0.0}) is None
    halves = {question: share / 2 for question, share in theirs.items()}
    expected = (1.984 + 0.845) * np.std([1 - s for s in halves.values()], ddof=1) / 10
    assert detectable(ours, halves) == pytest.approx(expected, rel=1e-3)
