"""Health metrics of hand-made batches."""

from dataclasses import replace

import numpy as np
import pytest

from rlvr.safeguards import health_signals as signals
from rlvr.safeguards.health_signals import WINDOW
from rlvr.sampling.stop import StopRule
from rlvr.verify.verdict import Reason, Verdict

PREFIX = "#### The final answer is"
LINE = StopRule((), PREFIX)


def answer(value: object) -> str:
    return f" Some steps.\n{PREFIX} {value}"


def test_agreement_of_reward_and_last_number(batch):
    texts = [answer(1), answer(2), "so it is 1", answer(3)]
    seen = signals.agreement(batch(texts, ["1"] * 4, paid=[1, 1, 0, 0]))
    assert seen == {
        "independent_accuracy": 0.5,
        "reward_gap": 0.0,
        "false_positive_like": 0.25,
        "false_negative_like": 0.25,
    }


def test_rows_that_cannot_be_judged_twice_are_left_out(batch):
    assert signals.agreement(batch([answer(1)], ["heads"], paid=[1])) == {}
    assert signals.agreement(batch([answer(1)], ["1"], paid=[np.nan])) == {}


def test_format_only_shares(batch):
    seen = signals.format_only(batch([answer(1), answer(2), answer(3), "none"], ["1"] * 4))
    assert seen == {"format_only_share": 0.5, "format_only_reward_share": pytest.approx(0.4)}
    assert "format_only_reward_share" not in signals.format_only(batch(["x", "y"], ["1"] * 2))


def test_answers_and_what_follows_them(batch):
    texts = [
        answer(1) + "\nWait, that is wrong.",
        answer(1) + f"\n{PREFIX} 2",
        answer("1 or 2"),
        answer("one"),
        "nothing",
        answer(1) + "\n",
    ]
    seen = signals.answers(batch(texts, ["1"] * 6), LINE)
    assert seen["retracted"] == pytest.approx(1 / 6)
    assert seen["run_on"] == pytest.approx(2 / 6)
    assert seen["spray"] == pytest.approx(2 / 6)
    assert seen["unparseable"] == pytest.approx(2 / 6)
    assert seen["no_answer"] == pytest.approx(1 / 6)
    assert seen["accuracy"] == pytest.approx(2 / 6)
    assert seen["timeout"] == seen["infra_error"] == 0


def test_groups_without_variance_by_kind(batch):
    texts = [*[answer(1)] * 2, *[answer(2)] * 2, answer(1), answer(2), answer(1), answer(2)]
    rewards = [[1.0], [1.0], [0.0], [0.0], [1.0], [0.0], [0.5], [0.5]]
    seen = signals.groups(batch(texts, ["1"] * 8, rewards=rewards))
    assert seen == {
        "groups_all_correct": 0.25,
        "groups_all_wrong": 0.25,
        "groups_same_other": 0.25,
    }


def test_lengths_of_right_and_wrong_answers(batch):
    assert signals.lengths(batch([answer(1), answer(222)], ["1"] * 2)) == {
        "length_correct_minus_wrong": -2.0
    }
    assert signals.lengths(batch([answer(1), answer(1)], ["1"] * 2)) == {}


def test_repetition_within_groups_and_completions(batch):
    seen = signals.repetition(batch(["a b c d a b c d", "a b c d", "x", "y"], ["1"] * 4))
    assert seen["repeated_4grams"] == pytest.approx(0.2 / 4)
    assert seen["duplicates"] == 0
    assert signals.repetition(batch(["x", "x", "x", "y"], ["1"] * 4))["duplicates"] == 0.25


def test_one_answer_to_every_question(batch):
    top = signals.TopAnswers()
    for start in range(0, 20, 2):
        texts = [answer(7), answer(7), answer(7), answer(start)]
        seen = top(batch(texts, [str(start)] * 2 + [str(start + 1)] * 2))
    assert seen["top_answer_share"] == pytest.approx(0.75)
    assert seen["top_gold_share"] == pytest.approx(0.05)
    assert 1 < seen["answer_entropy"] < 3
    assert signals.TopAnswers()(batch(["none"], ["1"])) == {}


def test_components_move_together_or_apart(batch):
    components = signals.Components(["format", "correctness"], [0.5, 1.0])
    for step in range(WINDOW):
        share = step / 10
        rewards = [[share, 0.0], [share, 1.0], [1.0, 0.0], [0.0, 1.0]]
        seen = components(batch([answer(1)] * 4, ["1"] * 4, rewards=rewards))
    assert seen["slope_lead/format"] == pytest.approx(0.05)
    assert -1 < seen["correlation/format"] < 0
    alone = signals.Components(["only"], [1.0])
    assert alone(batch([answer(1)], ["1"], rewards=[[1.0]])) == {}


def test_what_each_reward_adds_to_right_and_to_wrong_answers(batch):
    earnings = signals.Earnings({"format": 0.5, "mine": 2.0}, ["mine"])
    texts = [answer(1), "so it is 1", answer(2), answer(3)]
    rewards = [[1.0, 0.1], [1.0, 0.3], [1.0, 1.0], [1.0, np.nan]]
    seen = earnings(batch(texts, ["1"] * 4, rewards=rewards))
    assert seen == {
        "earned_right/mine": pytest.approx(0.4),
        "earned_wrong/mine": pytest.approx(2.0),
        "wrong_minus_right": pytest.approx(1.6),
    }


def test_where_golds_are_no_numbers_the_verdicts_say_what_is_right(batch):
    seen = batch(["heads", "heads 7"], ["heads"] * 2, rewards=[[1.0], [0.25]])
    verdicts = [Verdict(1.0, Reason.CORRECT), Verdict(0.0, Reason.WRONG)]
    earned = signals.Earnings({"mine": 1.0}, ["mine"])(replace(seen, verdicts=verdicts))
    assert (earned["earned_right/mine"], earned["earned_wrong/mine"]) == (1.0, 0.25)


def test_without_wrong_answers_nothing_is_compared(batch):
    seen = signals.Earnings({"mine": 1.0}, ["mine"])(batch([answer(1)], ["1"], rewards=[[1.0]]))
    assert seen == {"earned_right/mine": 1.0}
    assert signals.Earnings({"format": 1.0}, [])(batch([answer(1)], ["1"])) == {}


def test_what_stands_in_a_thought_is_no_answer_line(batch):
    texts = [f"maybe\n{PREFIX} 1\nno, wait\n</think>{answer(2)}"]
    seen = signals.answers(batch(texts, ["2"], prompts=["Q: <think>"]), LINE)
    assert seen["run_on"] == seen["retracted"] == 0
