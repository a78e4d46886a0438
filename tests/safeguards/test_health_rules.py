"""Each rule fires on its own illness, leaves healthy runs alone, and says what it saw."""

import numpy as np
import pytest

from rlvr.safeguards import health_rules as rules
from rlvr.safeguards.health_rules import RULES, WINDOW, History


def history(entries: int, **values: object) -> History:
    """`values` are constants, or functions from 0..1, the share of the run that has passed."""
    records = []
    for n in range(entries):
        share = n / max(entries - 1, 1)
        now = {k.replace("__", "/"): v(share) if callable(v) else v for k, v in values.items()}
        records.append({"step": n + 1, **now})
    return History(records)


HEALTHY = {
    "reward__total": lambda s: 0.5 + 0.7 * s,
    "health__accuracy": lambda s: 0.2 + 0.6 * s,
    "health__independent_accuracy": lambda s: 0.22 + 0.6 * s,
    "health__reward_gap": lambda s: -0.05 * (1 - s),
    "health__false_positive_like": 0.0,
    "health__false_negative_like": lambda s: 0.06 * (1 - s),
    "health__format_only_reward_share": lambda s: 0.7 - 0.6 * s,
    "health__timeout": 0.0,
    "health__infra_error": 0.0,
    "health__spray": 0.02,
    "health__groups_all_wrong": lambda s: 0.5 - 0.5 * s,
    "health__groups_same_other": 0.0,
    "health__groups_all_correct": lambda s: 0.5 * s,
    "train__clipped_ratio": 0.05,
    "health__top_answer_share": 0.15,
    "health__top_gold_share": 0.1,
    "health__entropy_ratio": lambda s: 1 - 0.9 * s,
    "health__duplicates": lambda s: 0.2 + 0.5 * s,
    "health__repeated_4grams": 0.02,
    "health__earned_right/correctness": 0.95,
    "health__earned_wrong/correctness": 0.02,
    "health__wrong_minus_right": -0.93,
    "train__grad_norm": lambda s: 0.5 - 0.4 * s,
    "health__kl_probe": lambda s: 0.3 * s,
    "train__engine_difference": 0.01,
    "health__gaming": 0.005,
    "health__gaming_catches_all": 0.3,
    "health__tests_passed_shown": lambda s: 0.4 + 0.5 * s,
    "health__tests_passed_hidden": lambda s: 0.3 + 0.5 * s,
}
SICK = {
    "wrong_answers_earn_more": {
        "health__earned_right/correctness": 0.1,
        "health__earned_wrong/correctness": 0.9,
        "health__wrong_minus_right": 0.8,
    },
    "false_positives": {"health__false_positive_like": 0.3},
    "false_negatives": {
        "health__false_negative_like": 0.3,
        "health__independent_accuracy": 0.4,
    },
    "reward_without_accuracy": {"health__independent_accuracy": 0.1},
    "faults": {"health__timeout": 0.1},
    "spray": {"health__spray": 0.5},
    "no_signal": {"health__groups_all_wrong": 0.95},
    "saturated": {"health__groups_all_correct": 0.99},
    "gradient_spikes": {"train__grad_norm": lambda s: 0.3 if s < 1 else 40.0},
    "far_from_base": {"health__kl_probe": lambda s: 2 * s},
    "engine_differs": {"train__engine_difference": 0.3},
    "cut_off": {"train__clipped_ratio": 0.5},
    "constant_answer": {"health__top_answer_share": 0.9},
    "collapse": {"health__accuracy": 0.2, "health__duplicates": 0.95},
    "loops": {"health__repeated_4grams": 0.8},
    "gaming": {"health__gaming": 0.05, "health__gaming_files": 0.05, "health__gaming_exited": 0.0},
    "shown_tests_by_heart": {
        "health__tests_passed_shown": 0.9,
        "health__tests_passed_hidden": lambda s: 0.9 - 0.6 * s,
    },
}


def fired(seen: History) -> set[str]:
    return {rule.__name__ for rule in RULES if rule(seen)}


def test_every_rule_is_tested():
    assert {rule.__name__ for rule in RULES} == SICK.keys()


@pytest.mark.parametrize("entries", [1, WINDOW, 2 * WINDOW, 60])
def test_a_healthy_run_is_left_alone(entries):
    assert fired(history(entries, **HEALTHY)) == set()


@pytest.mark.parametrize("rule", SICK)
def test_each_rule_fires_alone_and_says_it_in_one_line(rule):
    seen = history(60, **{**HEALTHY, **SICK[rule]})
    assert rule in fired(seen)
    message = getattr(rules, rule)(seen)
    assert "nan" not in message
    assert "\n" not in message
    assert len(message) < 250


def test_gaming_is_told_with_its_signs_and_an_example():
    shares = {"gaming": 0.3, "gaming_exited": 0.1, "gaming_files": 0.2}
    seen = history(WINDOW, **{f"health__{name}": share for name, share in shares.items()})
    seen.gaming = "def f(x): return open(x)"
    assert rules.gaming(seen) == (
        "30% of the completions try to be paid without solving their task (files 20%, exited 10%); "
        "the latest: def f(x): return open(x)"
    )


def test_hard_hidden_tests_are_no_memory():
    shares = {"health__tests_passed_shown": 0.3, "health__tests_passed_hidden": 0.05}
    assert not said("shown_tests_by_heart", **shares)


def test_noise_is_no_rise():
    rng = np.random.default_rng(0)
    noisy = history(40, accuracy=lambda _: 0.3 + rng.normal(0, 0.1))
    assert not noisy.risen("accuracy")
    assert history(40, accuracy=lambda s: 0.3 + 0.3 * s).risen("accuracy")
    assert not history(2 * WINDOW - 1, accuracy=lambda s: s).risen("accuracy")


def said(rule, **changes):
    return getattr(rules, rule)(history(60, **{**HEALTHY, **changes}))


INVERTED = {
    "health__earned_right/mine": 0.1,
    "health__earned_wrong/mine": 1.8,
    "health__wrong_minus_right": 0.77,
}


def test_the_reward_that_pays_wrong_answers_is_named():
    message = said("wrong_answers_earn_more", **INVERTED)
    assert message == (
        "wrong answers earn more than right ones: mine adds 1.80 to wrong and 0.10 to right "
        "answers, correctness adds 0.02 to wrong and 0.95 to right answers"
    )


@pytest.mark.parametrize("rule", ["false_positives", "false_negatives"])
def test_what_follows_from_it_is_not_told_as_something_else(rule):
    assert said(rule, **SICK[rule]) is not None
    assert said(rule, **SICK[rule], **INVERTED) is None


def test_right_and_wrong_answers_paid_alike_are_no_preference_but_by_chance():
    rng = np.random.default_rng(0)
    coin = {"health__earned_right/coin": 0.5, "health__earned_wrong/coin": 0.5}
    for spread in (0.05, 0.5):
        noise = history(500, **coin, health__wrong_minus_right=lambda _, s=spread: rng.normal(0, s))
        cuts = (History(noise.records[:end]) for end in range(WINDOW, 500, 7))
        assert sum(rules.wrong_answers_earn_more(cut) is not None for cut in cuts) <= 1


def test_a_gamed_reward_is_named():
    gamed = {"health__earned_wrong/correctness": 0.4, "health__wrong_minus_right": -0.5}
    message = said("false_positives", health__false_positive_like=0.4, **gamed)
    assert "(correctness adds 0.40 to wrong and 0.95 to right answers)" in message


def test_right_answers_that_are_not_paid_have_a_known_cause_or_none():
    unpaid = SICK["false_negatives"]
    assert "a reward refuses them" in said("false_negatives", **unpaid)
    lines = {"health__no_answer": 0.2, "health__unparseable": 0.1}
    assert "30% have no readable answer line" in said("false_negatives", **unpaid, **lines)
