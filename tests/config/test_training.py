"""Relations between settings of the trainer: refused where they cannot work, said where idle."""

import pytest

from rlvr import config
from rlvr.config.schema import Loss, Scheduler
from rlvr.config.training import problems, warnings

PRESETS = ["grpo", "dr_grpo", "dapo", "gspo", "cispo", "bnpo"]


def test_losses_and_schedules_are_those_of_the_libraries():
    from transformers import SchedulerType
    from trl import GRPOConfig

    described = GRPOConfig.__dataclass_fields__["loss_type"].metadata["help"]
    assert all(f"'{loss}'" in described for loss in Loss)
    after_an_evaluation = {"reduce_lr_on_plateau", "greedy"}
    assert {kind.value for kind in SchedulerType} - after_an_evaluation == {*Scheduler}


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["dataset.train_examples=1"], "dataset.train_examples=1: 1 training question does not"),
        (["trainer.loss_type=bnpo"], "averages within a micro-batch"),
        (["+trainer.extra.top_entropy_quantile=0.2"], "set trainer.micro_batch_size, such as 16"),
        (["trainer.loss_type=cispo"], "trainer.epsilon_high=5, as trainer=cispo does"),
        (["trainer.lr_scheduler_type=warmup_stable_decay"], "lr_scheduler_kwargs={num_decay_ste"),
        (["model.dtype=float16"], "model.dtype=float16 has too small a range"),
        (["+trainer.extra.fp16=true"], "trainer.extra.fp16"),
        (["trainer.shared_prefix=flex"], "need a CUDA GPU, and there is none here"),
        (["trainer.downsample_from=8"], "above trainer.num_generations=8, the completions"),
        (["trainer.revisit=0.5", "trainer.num_processes=2"], "trainer.revisit=0.5 chooses in one"),
        (["peft=none", "peft.modules_to_save=[lm_head]"], "trains and saves every module already"),
    ],
)
def test_what_cannot_work_is_refused_with_the_way_out(compose_config, overrides, expected):
    assert expected in "\n".join(problems(compose_config(*overrides)))


def test_one_example_trains_for_max_steps(compose_config):
    assert not [*problems(compose_config("dataset.train_examples=1", "trainer.max_steps=2000"))]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["trainer.epsilon=0.1"], "trainer.epsilon cannot act"),
        (["trainer.epsilon_high=0.28"], "trainer.epsilon_high cannot act"),
        (["trainer=gspo", "trainer.optimizer_steps_per_generation=1"], "epsilon and trainer.eps"),
        (["trainer=cispo", "trainer.epsilon=0.1"], "trainer.epsilon cannot act with loss_type=cis"),
        (["+trainer.extra.delta=4"], "trainer.extra.delta cannot act"),
        (["trainer.lr_scheduler_type=constant"], "trainer.warmup_ratio=0.1 cannot act"),
        (["shots_end=2"], "shots_end=2 cannot act with shots_schedule=constant"),
        (["schedule=step", "shots_probability=0.5"], "it belongs to bernoulli"),
    ],
)
def test_a_setting_that_cannot_act_is_said(compose_config, overrides, expected):
    assert expected in "\n".join(warnings(compose_config(*overrides)))


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("reuse", ["num_iterations", "optimizer_steps_per_generation"])
def test_every_setting_of_a_preset_acts(compose_config, preset, reuse):
    assert not [*warnings(compose_config(f"trainer={preset}"))]
    assert not [*warnings(compose_config("trainer.epsilon=0.1", f"trainer.{reuse}=2"))]
    config.validate(compose_config(f"trainer={preset}"))
