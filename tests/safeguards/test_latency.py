"""The cost of a call and of a completion are told apart, and stand in a run's estimate."""

import time

import pytest

from rlvr.config.steps import Steps
from rlvr.safeguards.latency import FEW, Latency, measure, slow, summary

STEPS = Steps(count=1000, completions=32, rollouts=1000 * 32)


def test_a_call_of_each_completion_and_one_of_the_whole_batch():
    each = measure(lambda numbers: time.sleep(0.01 * len(numbers)))
    assert each.completion == pytest.approx(0.01, rel=0.3)
    assert each.seconds(32) == pytest.approx(0.32, rel=0.3)
    whole = measure(lambda numbers: time.sleep(0.05))
    assert whole.call == pytest.approx(0.05, rel=0.3)
    assert whole.seconds(32) == pytest.approx(0.05, abs=0.03)


def test_the_start_is_not_timed_and_nothing_is_asked_twice():
    asked = []

    def judge(numbers):
        time.sleep(0 if asked else 0.2)
        asked.extend(numbers)

    assert measure(judge).seconds(1) < 0.1
    assert sorted(asked) == list(range(2 + FEW))


def test_the_estimate_is_for_the_whole_run():
    latencies = {"the verifier": Latency(0.0, 1e-5), "judge": Latency(1.6, 0.15)}
    assert summary(latencies, STEPS) == (
        "the verifier <0.1 ms, judge 0.2s a completion: 1h 46m for the run's 32000 rollouts"
    )


def test_what_takes_a_large_share_is_said():
    latencies = {"quick": Latency(0.5, 0.01), "calls": Latency(3.0, 0.0), "each": Latency(0, 0.5)}
    assert slow(latencies, STEPS) == {
        "calls": "takes 93.8 ms a completion (3.0s for one, 3.0s for the 32 of a step): "
        "50m 00s of this run",
        "each": "takes 0.5s a completion (0.5s for one, 16s for the 32 of a step): "
        "4h 26m of this run",
    }
