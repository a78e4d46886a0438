"""Seconds of a step's phases: an evaluation in between is counted to none of them."""

import time
from typing import Any

import pytest

from rlvr.training.shared_prefix.timing import TimedGRPOTrainer


class Trainer(TimedGRPOTrainer):
    """Only what the timing reads; rollouts take 0.05 s, so does the update."""

    def __init__(self) -> None:
        self.model: Any = type("Model", (), {"training": True})()
        self._metrics: dict[str, Any] = {"train": {name: [] for name in NAMES}}
        self._step, self.current_gradient_accumulation_steps = 0, 1


NAMES = ("perf/seconds_rollout", "perf/seconds_update", "perf/trained_tokens_per_second")


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    def rollouts(self: Any, batch: Any) -> dict[str, Any]:
        time.sleep(0.05)
        return {}

    def step(self: Any, model: Any, inputs: Any, count: Any) -> None:
        self._prepare_inputs(inputs)
        time.sleep(0.05)

    parent = TimedGRPOTrainer.__mro__[1]
    monkeypatch.setattr(parent, "_prepare_inputs", rollouts)
    monkeypatch.setattr(parent, "training_step", step)
    return Trainer()


def test_an_evaluation_is_no_part_of_the_step(trainer: Trainer) -> None:
    trainer.model.training = False
    for _ in range(4):
        trainer._prepare_inputs({})
    trainer.model.training = True
    trainer.training_step(None, {}, None)
    (rollout,), (update,) = (trainer._metrics["train"][name] for name in NAMES[:2])
    assert rollout == pytest.approx(0.05, abs=0.03)
    assert update == pytest.approx(0.05, abs=0.03)


def test_each_step_starts_anew(trainer: Trainer) -> None:
    for _ in range(2):
        trainer.training_step(None, {}, None)
    assert all(s == pytest.approx(0.05, abs=0.03) for s in trainer._metrics["train"][NAMES[0]])
