"""Rollouts of a random model: does the check see whether GRPO has anything to learn from?"""

import pytest
import torch
from omegaconf import OmegaConf

from rlvr.config.steps import planned_steps
from rlvr.data.load import load_splits
from rlvr.errors import UserError
from rlvr.experiment import build_trainer
from rlvr.progress import Progress
from rlvr.rewards.build import build_rewards
from rlvr.safeguards.base_rollouts import MOST_QUESTIONS, QUESTIONS, _in_words, check_rollouts
from rlvr.safeguards.gold_answers import check_golds
from rlvr.tracking import NullTracker
from rlvr.verify.build import build_verifier

SMALL = [
    *("dataset=word_problems", "dataset.loader.train_size=60", "dataset.loader.test_size=8"),
    *("shots=0", "peft=none", "trainer.batch_size=16"),
    "trainer.num_generations=4",
    *("trainer.max_completion_length=4", "trainer.gradient_checkpointing=false"),
]


@pytest.fixture
def rolled_out(compose_config, saved_model, tmp_path):
    """The report after both halves of the check, of the named rewards."""

    def check(*overrides):
        cfg = compose_config("~launcher", f"model.path={saved_model}", *SMALL, *overrides)
        splits = load_splits(cfg.dataset, seed=1, verifier=build_verifier(cfg.dataset))
        rewards = build_rewards(cfg.rewards)
        trainer = build_trainer(cfg, tmp_path, rewards, splits, NullTracker(), Progress(tmp_path))
        report = check_golds(rewards, splits, planned_steps(cfg, len(splits.train)))
        before = torch.get_rng_state()
        training = trainer.model.training
        check_rollouts(report, trainer, splits)
        assert torch.equal(torch.get_rng_state(), before), "training must not depend on the check"
        assert trainer.model.training == training
        return report

    return check


def test_four_groups_are_enough_when_rewards_differ(rolled_out):
    report = rolled_out("+rewards.coin={_target_: rlvr.rewards.controls.RandomReward}")
    assert report.rollouts["groups"] == QUESTIONS
    assert report.rollouts["completions"] == 4 * QUESTIONS
    assert report.rollouts["groups_with_variance"] > 0
    assert 0 < report.rollouts["mean_rewards"]["coin"] < 1
    assert report.rollouts["mean_rewards"]["correctness"] == 0
    assert report.findings == []


def test_no_variance_in_many_groups_is_refused(rolled_out, tmp_path, capsys):
    report = rolled_out()
    assert report.rollouts["groups"] == MOST_QUESTIONS
    assert report.rollouts["reasons"]["no_answer"] > 0.9
    with pytest.raises(UserError, match="differ within 0 of 32 groups") as refused:
        report.publish(tmp_path)
    assert "raise it" in str(refused.value), "random completions of 4 tokens are cut off"
    assert "A rollout: ''" not in str(refused.value)
    assert "128 rollouts" in capsys.readouterr().out
    assert OmegaConf.load(tmp_path / "preflight.json").rollouts.groups == MOST_QUESTIONS


def test_a_control_without_variance_may_train(rolled_out, tmp_path, capsys):
    report = rolled_out("rewards=format_only")
    report.publish(tmp_path)
    assert "Without a difference GRPO learns nothing" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("reasons", "cut_off", "advice"),
    [
        ({"correct": 1.0}, 0.9, "All are right already: take harder questions."),
        ({"timeout": 0.4, "infra_error": 0.3}, 0.9, "The verifier fails on most of them."),
        ({"no_answer": 0.9}, 0.6, "60% are cut off at trainer.max_completion_length: raise it."),
        ({"no_answer": 0.9}, 0.1, "Most hold no answer line: add shots"),
        ({"wrong": 1.0}, 0.1, "Take easier questions"),
    ],
)
def test_the_advice_fits_what_was_sampled(reasons, cut_off, advice):
    rollouts = {
        **{"completions": 8, "groups": 2, "groups_with_variance": 0, "mean_reward": None},
        **{"reasons": reasons, "cut_off": cut_off, "example": "text"},
    }
    assert advice in _in_words(rollouts)
    assert "GRPO learns nothing" not in _in_words({**rollouts, "groups_with_variance": 1})
