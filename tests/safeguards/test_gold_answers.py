"""The check lets good rewards pass, and says what is wrong with bad ones."""

import json
import re
import time

import pytest

from rlvr.errors import UserError
from rlvr.safeguards import gold_answers
from rlvr.safeguards.gold_answers import LEAST_QUESTIONS
from rlvr.safeguards.preflight import TOTAL
from rlvr.safeguards.spoilt import GOLD, SPOILT
from rlvr.verify.math import MathVerifier
from rlvr.verify.numeric import NumericVerifier
from rlvr.verify.verdict import Reason, Verdict


class DropsTheSign(NumericVerifier):
    """The best known fault of the reference recipe."""

    def verify(self, completions, golds, **columns):
        texts = [text.replace("is -", "is ") for text in completions]
        return super().verify(texts, golds, **columns)


class PaysTheFirstNumber(NumericVerifier):
    def verify(self, completions, golds, **columns):
        texts = [text.replace("is not", "is") for text in completions]
        return super().verify(texts, golds, **columns)


class TimesOut(NumericVerifier):
    def verify(self, completions, golds, **columns):
        return [Verdict(None, Reason.TIMEOUT) for _ in completions]


def numbers(check, *overrides, **settings):
    return check("dataset=word_problems", *overrides, **settings)


def test_the_reference_rewards_pass(checked):
    report = numbers(checked)
    assert report.findings == []
    assert report.control == []
    assert set(report.paid[TOTAL]) == {GOLD, *SPOILT}
    assert report.paid[TOTAL][GOLD] == 1.5
    assert all(report.paid["correctness"][way] == 0 for way in SPOILT)
    assert report.paid["format"]["changed"] == 1
    assert report.paid["format"]["cut off"] == report.paid["format"]["empty"] == 0


def test_answers_that_are_text_pass(checked, tmp_path):
    rows = [{"question": f"Is {n} even?", "answer": "no" if n % 2 else "yes"} for n in range(40)]
    file = tmp_path / "even.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    exact = "dataset.verifier._target_=rlvr.verify.exact.ExactVerifier"
    report = checked("dataset=jsonl", f"dataset.path={file}", "shots=0", exact)
    assert report.findings == []
    assert "sign flipped" not in report.paid[TOTAL]


@pytest.mark.parametrize(
    ("prefix", "settings"),
    [
        (None, ["shots=0"]),
        (None, ["exemplars"]),
        ("#### The final answer is", ["shots=0"]),
    ],
)
def test_mathematical_answers_pass_boxed_or_not(checked, tmp_path, prefix, settings):
    golds = [r"\frac{\pi}{2}", "x+y", r"\sqrt{2}", "12", "-3", "(1,2)", "2x^2", r"\text{even}"]
    rows = [{"question": f"Question {n}?", "answer": gold} for n, gold in enumerate(golds * 3)]
    file, exemplars = tmp_path / "math.jsonl", tmp_path / "exemplars.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    shown = {"question": "1+1?", "solution": "It is 2.", "answer": r"\boxed{2}"}
    exemplars.write_text(json.dumps(shown))
    if settings == ["exemplars"]:
        settings = ["shots=1", f"dataset.exemplars={exemplars}"]
    verifier = MathVerifier(answer_prefix=prefix, workers=1)
    report = checked("dataset=jsonl", f"dataset.path={file}", *settings, verifier=verifier)
    assert report.findings == []
    assert report.paid[TOTAL][GOLD] == 1.5


def test_prompts_that_open_a_thought_pass(checked):
    report = numbers(checked, "shots=0", "dataset.prompt.solution='Solution: <think>'")
    assert report.findings == []
    assert report.paid[TOTAL][GOLD] == 1.5


def test_exemplars_that_the_verifier_does_not_read_are_found(checked):
    report = numbers(checked, verifier=MathVerifier(answer_prefix=None, workers=1))
    assert "verdict no_answer" in report.findings[0]


@pytest.mark.parametrize(
    ("verifier", "way"), [(DropsTheSign, "sign flipped"), (PaysTheFirstNumber, "negated")]
)
def test_a_verifier_that_pays_wrong_answers_is_found(checked, verifier, way):
    (finding,) = numbers(checked, verifier=verifier()).findings
    assert f"{way} (36 of 36)" in finding
    assert "gets 1.50, the gold answer 1.50" in finding


def test_a_verifier_that_fails_is_found(checked):
    findings = numbers(checked, verifier=TimesOut()).findings
    assert "None of 1, verdict timeout" in findings[0]


def test_an_answer_format_that_is_not_paid_is_found(checked):
    report = numbers(checked, "dataset.prompt.answer_prefix=So:", verifier=NumericVerifier())
    assert len(report.findings) == 2
    assert all("36 of 36 questions" in finding for finding in report.findings)
    assert "verdict no_answer" in report.findings[0]
    assert "So: " in report.findings[0]
    assert "dataset.prompt.answer_prefix" in report.findings[0]


@pytest.mark.parametrize(
    ("option", "names"),
    [("random", ["random"]), ("inverted", ["inverted"]), ("format_only", ["format"])],
)
def test_controls_are_marked_and_not_refused(checked, option, names):
    report = numbers(checked, f"rewards={option}")
    assert report.control == names
    assert report.findings == []


def brevity(completions, **columns):
    return [1 / (1 + len(text)) for text in completions]


def wrong_answers(completions, gold, **columns):
    pairs = zip(completions, gold, strict=True)
    return [float(bool(text) and not text.endswith(f"is {right}")) for text, right in pairs]


def nothing(completions, **columns):
    return [0.0 for _ in completions]


def penalty(completions, gold, **columns):
    """Nobody is paid, and yet right answers are preferred."""
    pairs = zip(completions, gold, strict=True)
    return [0.0 if text.endswith(f"is {right}") else -1.0 for text, right in pairs]


def sometimes(completions, gold, **columns):
    pairs = zip(completions, gold, strict=True)
    return [float(text.endswith(f"is {right}") and int(right) % 2) for text, right in pairs]


def test_a_reward_that_never_looks_at_the_gold_is_found(checked):
    (finding,) = numbers(checked, functions=[brevity]).findings
    assert "wrong answers earn no less than right ones" in finding
    assert "empty" in finding


def test_a_reward_of_wrong_answers_is_told_as_one(checked):
    never, wrong = numbers(checked, functions=[wrong_answers]).findings
    assert "the gold answer is never paid by reward 'wrong_answers' (test_gold_an" in never
    assert "for 36 of 36 questions it gets no more than the worst" in never
    assert "changed (36 of 36), sign flipped (36 of 36)" in wrong
    assert "empty" not in wrong
    assert "gets 1.00, the gold answer 0.00" in wrong


def test_a_reward_that_never_pays_is_told_as_one(checked):
    (finding,) = numbers(checked, functions=[nothing]).findings
    assert "never paid by reward 'nothing'" in finding
    assert "(0.00)" in finding


def test_a_reward_that_often_does_not_pay_is_told_as_one(checked):
    (finding,) = numbers(checked, functions=[sometimes]).findings
    assert "the gold answer is often not paid by reward 'sometimes'" in finding


def test_penalties_alone_may_train(checked):
    assert numbers(checked, functions=[penalty]).findings == []


def test_the_example_is_the_same_each_time_and_no_empty_completion(checked):
    def everything(completions, **columns):
        return [1.0 if text.endswith("answer is") else 2.0 for text in completions]

    findings = {numbers(checked, functions=[everything]).findings[-1] for _ in range(3)}
    (finding,) = findings
    assert "For example '' gets" not in finding
    assert "#### The final answer is" in finding


def raises(completions, gold, **columns):
    return [float(text.split("is ")[1]) for text in completions]


def too_few(completions, **columns):
    return [1.0]


def not_finite(completions, **columns):
    return [float("nan") if not text else 0.0 for text in completions]


def words(completions, **columns):
    return ["good" for _ in completions]


def no_list(completions, **columns):
    return None


def leaves(completions, **columns):
    raise SystemExit("no key")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (raises, r"reward 'raises' raised \w+Error: .* \(test_gold_answers.py:\d+\)"),
        (too_few, r"reward 'too_few' \(test_gold_answers.py:\d+\) returned 1 values; expected 36"),
        (not_finite, r"reward 'not_finite' .* returned nan.* on completions\[0\], ''"),
        (words, "reward 'words' .* returned 'good'"),
        (no_list, "reward 'no_list' .* returned NoneType"),
        (leaves, r"reward 'leaves' called sys.exit\('no key'\)"),
    ],
)
def test_a_faulty_reward_is_named_with_an_example(checked, function, message):
    report = numbers(checked, functions=[function])
    assert len(report.findings) == 1
    with pytest.raises(UserError, match=message):
        report.publish()


def test_a_reward_that_a_failed_verdict_would_end_is_found(checked):
    def doubled(verdicts):
        return [2 * verdict.reward for verdict in verdicts]

    (finding,) = numbers(checked, functions=[doubled]).findings
    assert "'doubled' raised TypeError" in finding
    assert "the verifier has failed: verdict.reward is None" in finding


def test_all_faulty_rewards_are_named(checked):
    assert len(numbers(checked, functions=[words, brevity, leaves]).findings) == 2


def looks_at_everything(
    prompts, completions, completion_ids, gold, question, verdicts, trainer_state, log_metric, **_
):
    log_metric("seen", trainer_state.global_step)
    lengths = {len(given) for given in (prompts, completions, completion_ids, gold, question)}
    assert lengths == {len(verdicts)}
    return [float(verdict.correct) for verdict in verdicts]


def test_rewards_get_what_trl_gives_them(checked):
    report = numbers(checked, functions=[looks_at_everything])
    assert report.findings == []
    assert report.paid["looks_at_everything"][GOLD] == 1


def test_trls_own_reward_is_checked_like_any_other(checked):
    """It reads LaTeX alone, so it never pays what the prompt asks for; the format hides it not."""
    unpaid, wrong = numbers(
        checked, "rewards.correctness._target_=trl.rewards.accuracy_reward"
    ).findings
    assert "the gold answer is never paid by reward 'correctness' (accuracy_rewards.py:" in unpaid
    assert "gets 0.50, the gold answer 0.50" in wrong


def test_a_slow_reward_is_tried_on_fewer_questions_and_told(checked, monkeypatch, caplog):
    monkeypatch.setattr(gold_answers, "SECONDS", 1.0)

    def judge_model(completions, gold, **columns):
        time.sleep(0.01 * len(completions))
        return penalty(completions, gold)

    report = numbers(checked, functions=[judge_model, penalty])
    assert LEAST_QUESTIONS <= report.questions < 20
    assert re.search(r"judge_model [1-4]\d\.", report.time), "ten ms, more on a busy machine"
    assert "for the run's 3200 rollouts" in report.time
    assert caplog.text == "", "ten milliseconds a completion is no large share of a step"


def test_a_slow_call_is_told_before_anything_else(checked, caplog):
    def per_call(completions, gold, **columns):
        time.sleep(0.2)
        return penalty(completions, gold)

    latency_slow = 0.2 / 32
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gold_answers.latency, "SLOW", latency_slow * 0.9)
        report = numbers(checked, functions=[per_call])
    assert report.questions == 36, "fewer questions would not save time"
    assert re.search(
        r"reward 'per_call' \(test_gold_answers.py:\d+\) takes [67]\.\d ms a completion "
        r"\(0\.2s for one, 0\.2s for the 32 of a step\): 2\ds of this run",
        caplog.text,
    )
