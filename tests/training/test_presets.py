"""What defines a preset of conf/trainer changes the update: the weights differ where it is off."""

from itertools import combinations

import pytest
import torch

from rlvr.config.batch import derive
from rlvr.training.arguments import SAME, grpo_config
from rlvr.training.shared_prefix.update import Sharing

BATCH = ("per_device_train_batch_size", "gradient_accumulation_steps", "steps_per_generation")
SMALL = [
    *("trainer.batch_size=8", "trainer.num_generations=4", "trainer.max_steps=16"),
    *("trainer.gradient_checkpointing=false", "trainer.lr_scheduler_type=constant"),
    *("trainer.learning_rate=3e-3", "trainer.max_completion_length=16", "peft=none"),
]
SHARING = Sharing(self_check=False)


@pytest.fixture
def trained(compose_config, harness, tmp_path):
    """All weights after sixteen steps on forced completions, the same for every preset."""

    def train(*overrides):
        cfg = compose_config(*SMALL, *overrides)
        args = grpo_config(cfg, tmp_path, [1.0], derive(cfg, 1, lambda micro: micro <= 4))
        changes = {name: getattr(args, name) for name in (*SAME, *BATCH)}
        rows = harness.few_shot(1, groups=32, size=4)
        trainer = harness.build(tmp_path, rows, SHARING, **changes)
        trainer.train()
        return torch.cat([weight.detach().flatten() for weight in trainer.model.parameters()])

    return train


@pytest.mark.parametrize(
    ("preset", "off"),
    [
        ("gspo", "trainer.importance_sampling_level=token"),
        ("gspo", "trainer.epsilon=0.2"),
        ("gspo", "trainer.optimizer_steps_per_generation=1"),
        ("cispo", "trainer.loss_type=dapo"),
        ("cispo", "trainer.scale_rewards=group"),
        ("cispo", "trainer.optimizer_steps_per_generation=1"),
        ("dapo", "trainer.loss_type=grpo"),
        ("dapo", "trainer.epsilon_high=0.2"),
        ("dapo", "trainer.optimizer_steps_per_generation=1"),
        ("dr_grpo", "trainer.loss_type=grpo"),
        ("dr_grpo", "trainer.scale_rewards=group"),
        ("bnpo", "trainer.loss_type=grpo"),
    ],
)
def test_a_presets_defining_setting_changes_the_update(trained, preset, off):
    micro = "trainer.micro_batch_size=4"  # bnpo's own is too large here
    assert (
        distance(trained(f"trainer={preset}", micro), trained(f"trainer={preset}", micro, off))
        > 1e-3
    )


@pytest.mark.slow
def test_presets_differ_from_each_other_off_policy_and_where_they_should_on_policy(trained):
    presets = ("grpo", "gspo", "cispo", "dapo", "dr_grpo")
    for steps in (4, 1):
        split = f"trainer.optimizer_steps_per_generation={steps}"
        after = {preset: trained(f"trainer={preset}", split) for preset in presets}
        for one, other in combinations(presets, 2):
            # With ratios of 1 clipping cannot act, and that is all that tells GSPO from GRPO.
            same = steps == 1 and (one, other) == ("grpo", "gspo")
            assert (distance(after[one], after[other]) < 1e-5) == same, (one, other, steps)


def distance(one, other):
    return float((one - other).norm() / one.norm())
