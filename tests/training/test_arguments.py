"""From our settings to GRPOConfig, and how rollouts and evaluations are drawn."""

import pytest

from rlvr.config.batch import Batch
from rlvr.errors import UserError
from rlvr.training.arguments import SAME, evaluation_sampling, grpo_config, rollout_sampling

ONE = Batch(size=32, processes=1, micro=16)


def test_settings_reach_trl(compose_config, tmp_path):
    cfg = compose_config("trainer=gspo", "trainer.bf16=false", "trainer.epsilon=1e-3")
    args = grpo_config(cfg, tmp_path, [0.5, 1.0], ONE)
    for name in SAME:
        assert getattr(args, name) == cfg.trainer[name], name
    assert args.reward_weights == [0.5, 1.0]
    assert args.warmup_steps == 0.1
    assert args.output_dir == str(tmp_path / "checkpoints")
    assert (args.seed, args.report_to, args.save_strategy.value) == (42, [], "steps")


def test_extra_reaches_any_other_field(compose_config, tmp_path):
    cfg = compose_config("+trainer.extra.top_k=7", "+trainer.extra.weight_decay=0.2")
    args = grpo_config(cfg, tmp_path, [1.0], ONE)
    assert (args.top_k, args.weight_decay) == (7, 0.2)
    assert rollout_sampling(args).top_k == 7


def test_what_trl_refuses_is_a_message(compose_config, tmp_path):
    cfg = compose_config("+trainer.extra.auto_find_batch_size=true")
    with pytest.raises(UserError, match="trainer: auto_find_batch_size is not supported"):
        grpo_config(cfg, tmp_path, [1.0], ONE)


def test_in_training_evaluation_and_checkpoints(compose_config, tmp_path):
    cfg = compose_config("trainer.eval_steps=5", "trainer.save_steps=3")
    args = grpo_config(cfg, tmp_path, [1.0], ONE)
    assert (args.eval_strategy.value, args.eval_steps) == ("steps", 5)
    assert (args.save_strategy.value, args.save_steps) == ("steps", 3)


def test_evaluation_is_greedy_by_default_and_as_long_as_training(compose_config):
    sampling = evaluation_sampling(compose_config("trainer.max_completion_length=99"))
    assert (sampling.temperature, sampling.max_new_tokens) == (0, 99)
