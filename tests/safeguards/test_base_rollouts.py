"""Rollouts of a random model: does the check see whether GRPO has anything to learn from?"""

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from rlvr.data.load import load_splits
from rlvr.errors import UserError
from rlvr.rewards.functions import build_rewards
from rlvr.run import build_trainer
from rlvr.safeguards.base_rollouts import MOST_QUESTIONS, QUESTIONS, check_rollouts
from rlvr.safeguards.preflight import check_golds
from rlvr.safeguards.preflight_report import conclude
from rlvr.tracking import NullTracker

SMALL = [
    *("dataset=word_problems", "dataset.loader.train_size=60", "dataset.loader.test_size=8"),
    *("shots=0", "peft=none", "trainer.per_device_train_batch_size=16"),
    *("trainer.gradient_accumulation_steps=1", "trainer.num_generations=4"),
    *("trainer.max_completion_length=4", "trainer.gradient_checkpointing=false"),
]


@pytest.fixture
def rolled_out(compose_config, saved_model, tmp_path):
    """The report after both halves of the check, of the named rewards."""

    def check(*overrides):
        cfg = compose_config("~launcher", f"model.path={saved_model}", *SMALL, *overrides)
        verifier = instantiate(cfg.dataset.verifier)
        splits = load_splits(cfg.dataset, seed=1, verifier=verifier)
        paid = build_rewards(cfg.rewards, verifier=verifier, stop=splits.stop)
        trainer = build_trainer(cfg, tmp_path, splits, NullTracker())
        report = check_golds(*paid, splits)
        before = torch.get_rng_state()
        training = trainer.model.training
        check_rollouts(report, trainer, splits)
        assert torch.equal(torch.get_rng_state(), before), "training must not depend on the check"
        assert trainer.model.training == training
        return report

    return check


def test_four_groups_are_enough_when_rewards_differ(rolled_out):
    report = rolled_out("+rewards.coin={_target_: rlvr.rewards.controls.Random}")
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
        conclude(report, tmp_path)
    assert "raise it" in str(refused.value), "random completions of 4 tokens are cut off"
    assert "128 rollouts" in capsys.readouterr().out
    assert OmegaConf.load(tmp_path / "preflight.json").rollouts.groups == MOST_QUESTIONS


def test_a_control_without_variance_may_train(rolled_out, tmp_path, capsys):
    report = rolled_out("rewards=format_only")
    conclude(report, tmp_path)
    assert "Without a difference GRPO learns nothing" in capsys.readouterr().out
