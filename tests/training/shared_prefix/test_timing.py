"""Seconds of a step's phases: an evaluation in between is counted to none of them."""

import time

import pytest

from rlvr.training.shared_prefix.timing import Phases


def test_an_evaluation_and_a_comparison_are_no_part_of_the_update() -> None:
    phases = Phases()
    with phases.waiting(training=False):
        time.sleep(0.05)
    assert phases.waited == 0
    with phases.updating():
        with phases.waiting(training=True):
            time.sleep(0.1)
        with phases.checking():
            time.sleep(0.1)
        time.sleep(0.05)
    assert phases.waited == pytest.approx(0.1, abs=0.04)
    assert phases.checked == pytest.approx(0.1, abs=0.04)
    assert phases.updated == pytest.approx(0.05, abs=0.04)
