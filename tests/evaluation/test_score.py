"""What evaluated rows amount to."""

from dataclasses import asdict

import pytest

from rlvr.evaluation.score import headline, metrics, paired, score, shares
from rlvr.metric_names import OWN_PREFIXES


def row(*correct, reward=None):
    return {
        "correct": [bool(c) for c in correct],
        "reward": [float(c) for c in correct] if reward is None else reward,
        "reason": ["correct" if c else "wrong" for c in correct],
        "tokens": [10] * len(correct),
        "format_ok": [True] * len(correct),
        "ended": [False] * len(correct),
    }


def test_k_samples_give_shares_and_unbiased_pass_at_k():
    rows = [row(1, 0, 0, 1), row(0, 0, 0, 0)]
    result = score(rows)
    assert shares(rows) == [0.5, 0.0]
    assert (result.accuracy, result.n, result.correct) == (0.25, 2, 0.5)
    assert list(result.pass_at_k) == ["1", "2", "4"]
    assert result.pass_at_k["2"] == pytest.approx((1 - 1 / 6) / 2)
    assert result.pass_at_k["4"] == 0.5
    assert (result.mean_length, result.format_rate, result.ended_rate) == (10, 1, 0)


def test_pass_at_k_has_an_interval_over_questions():
    right = [1] * 5 + [0] * 5
    result = score([row(*right), row(*[0] * 10)] * 20)
    assert list(result.pass_at_k) == ["1", "2", "5", "10"]
    assert result.pass_at_k["5"] == pytest.approx((1 - 1 / 252) / 2)
    low, high = result.pass_at_k_intervals["10"]
    assert (low, high) == (pytest.approx(0.35, abs=0.03), pytest.approx(0.65, abs=0.03))
    assert score([row(1, 1)] * 20).pass_at_k_intervals["2"][0] == pytest.approx(0.84, abs=0.01)
    named = metrics("base", asdict(result))
    assert named["base/pass_at_10_low"] == low
    assert "base/pass_at_1_low" not in named


def ran(outcome, shown, hidden, *signs):
    return {"outcome": outcome, "shown": shown, "hidden": hidden, "signs": signs}


def test_of_code_outcomes_signs_and_tests_are_counted():
    rows = [
        row(1, 0) | {"execution": [ran("passed", (1, 1), (3, 3)), ran("wrong", (1, 1), (0, 3))]},
        row(0, 0) | {"execution": [ran("exited", (0, 0), (0, 4), "exited", "files"), None]},
    ]
    result = score(rows)
    assert result.outcomes == {"passed": 1, "wrong": 1, "exited": 1}
    assert result.gaming == {"exited": 1, "files": 1}
    assert result.tests_passed == {"all": (1 + 0.25 + 0) / 3, "shown": 1.0, "hidden": 0.5}
    named = metrics("trained", asdict(result))
    assert named["trained/outcome_exited"] == 1
    assert named["trained/gaming_files"] == 1
    assert named["trained/tests_passed_hidden"] == 0.5
    assert score([row(1)]).outcomes == {}


def test_a_question_the_verifier_failed_on_is_left_out_of_n():
    rows = [row(1), row(0, reward=[None])]
    assert (score(rows).n, score(rows).accuracy) == (1, 1.0)
    with pytest.raises(ValueError, match="no question could be verified"):
        score(rows[1:])


def test_pairs_leave_out_what_either_side_could_not_verify():
    base = [row(0), row(1), row(0), row(0, reward=[None])]
    trained = [row(1), row(1), row(1, reward=[None]), row(1)]
    test = paired(base, trained)
    assert (test["n"], test["trained_only"], test["base_only"]) == (2, 1, 0)


def test_the_headline_sorts_first_and_has_what_is_known():
    base, trained = {"accuracy": 0.25}, {"accuracy": 0.75}
    both = headline(base, trained)
    assert both == {"accuracy/trained": 0.75, "accuracy/gain": 0.5, "accuracy/base": 0.25}
    assert list(headline(base, None).values()) == [None, None, 0.25]
    others = [*metrics("base", asdict(score([row(1)]))), *OWN_PREFIXES]
    assert sorted([*both, *others])[:3] == sorted(both)


def test_metrics_name_the_reasons_that_occurred():
    named = metrics("base", asdict(score([row(1), row(0)])))
    assert named["base/accuracy"] == 0.5
    assert named["base/reason_wrong"] == 1
    assert not {"base/reason_timeout", "base/correct", "base/pass_at_1"} & set(named)
