"""Health of code, from real executions of candidates that game the reward."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest

from rlvr.rewards.functions import correctness_reward
from rlvr.rewards.reward import Reward
from rlvr.safeguards import code_signals
from rlvr.safeguards.health import HealthMonitor
from rlvr.safeguards.health_rules import WINDOW
from rlvr.safeguards.health_signals import TopAnswers
from rlvr.sandbox.judging import SIGNS
from rlvr.verify.code import CodeVerifier
from rlvr.verify.verdict import OUTCOMES

HONEST = "def f(x): return x * x"
BY_HEART = "def f(x):\n    if x == 12: return 144\n    return None"
READS = "def f(x): return open('/etc/passwd').read()"
COLUMNS = {
    "entry_point": "f",
    "tests": ["assert f(12) == 144", "assert f(3) == 9"],
    "shown": [True, False],
}


@pytest.fixture(scope="module")
def judged():
    verifier = CodeVerifier(workers=2, seconds=2.0)

    def judge(codes):
        columns = {name: [value] * len(codes) for name, value in COLUMNS.items()}
        return verifier.verify(codes, [HONEST] * len(codes), **columns)

    return judge


@pytest.fixture
def code_batch(batch, judged):
    def made(codes):
        return replace(batch(codes, [HONEST] * len(codes)), verdicts=judged(codes))

    return made


def test_outcomes_tests_and_signs_are_shares(code_batch):
    seen = code_signals.executions(code_batch([HONEST, BY_HEART, READS, "def f(x) return"]))
    assert {n for n in seen if n.startswith("outcome_")} == {f"outcome_{o}" for o in OUTCOMES}
    assert {n for n in seen if n.startswith("gaming_")} == {f"gaming_{s}" for s in SIGNS}
    assert sum(seen[f"outcome_{outcome}"] for outcome in OUTCOMES) == 1
    assert seen["outcome_passed"] == seen["outcome_not_compiled"] == seen["outcome_raised"] == 0.25
    assert seen["gaming"] == 0.5
    assert seen["gaming_files"] == seen["gaming_special_cases"] == 0.25
    assert (seen["tests_passed_shown"], seen["tests_passed_hidden"]) == (2 / 4, 1 / 4)


def test_honest_code_that_catches_all_is_counted_and_not_suspected(code_batch):
    code = "def f(x):\n    try: return x * x\n    except Exception: return None"
    seen = code_signals.executions(code_batch([code]))
    assert (seen["gaming_catches_all"], seen["gaming"]) == (1, 0)


def test_what_is_no_code_has_none_of_it(batch):
    numbers = batch(["1"], ["1"])
    assert code_signals.executions(numbers) == {}
    assert code_signals.example(numbers) is None


def test_why_code_failed_is_no_answer_that_is_given_too_often(code_batch):
    assert TopAnswers()(code_batch(["def g(x): return 1"] * 4)) == {}


def train(tmp_path, judged, codes):
    """Steps in which these completions are sampled; what they log."""
    reward = Reward("correctness", correctness_reward, 1.0, {})
    watching = HealthMonitor([reward], "####", tmp_path)
    row = {"prompt": "p", "question": "q", "gold": HONEST, **COLUMNS}
    verdicts = judged(codes)
    paid = reward(["p"] * len(codes), codes, verdicts=verdicts)
    for step in range(1, WINDOW + 2):
        batch = watching.batch(
            [row] * len(codes), codes, codes, [1] * len(codes), verdicts, np.array([paid]).T
        )
        logged = {}
        watching.observe(batch, step, logged.__setitem__)
        metrics = {name: [value] for name, value in logged.items()}
        watching.complete_log_entry(metrics, step, {"reward": 0.5})
    return logged


def test_a_policy_that_games_the_verdict_is_warned_about_once(tmp_path, judged, caplog):
    with caplog.at_level(logging.WARNING):
        logged = train(tmp_path, judged, [HONEST, READS, HONEST, BY_HEART])
    assert logged["health/gaming"] == 0.5
    said = [m for m in caplog.messages if "without solving their task" in m]
    assert len(said) == 1
    assert "50% of the completions" in said[0]
    assert "the latest: def f(x): return open('/etc/passwd').read()" in said[0]
    assert "gaming" in json.loads((tmp_path / "health/warned.json").read_text())


def test_a_policy_that_learns_the_shown_tests_is_warned_about(tmp_path, judged, caplog):
    with caplog.at_level(logging.WARNING):
        train(tmp_path, judged, [BY_HEART] * 3 + [HONEST])
    assert "100% of the tests that the prompt shows are passed" in caplog.text
    assert "of the same tasks 25%" in caplog.text


def test_a_policy_that_solves_the_task_is_not(tmp_path, judged, caplog):
    with caplog.at_level(logging.WARNING):
        train(tmp_path, judged, [HONEST, "def f(x): return 2 * x"])
    assert "task" not in caplog.text
