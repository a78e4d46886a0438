"""In bfloat16 what is trained moves: whole models, adapters, and modules that are saved whole."""

import pytest
import torch

from rlvr.data.load import load_splits
from rlvr.experiment import build_trainer
from rlvr.progress import Progress
from rlvr.rewards.build import build_rewards
from rlvr.tracking import NullTracker
from rlvr.verify.build import build_verifier

SMALL = [
    *("dataset=word_problems", "dataset.loader.train_size=60", "dataset.loader.test_size=8"),
    *("shots=0", "trainer.batch_size=8", "trainer.num_generations=4", "trainer.max_steps=2"),
    *("trainer.max_completion_length=8", "trainer.gradient_checkpointing=false"),
    *("rewards=random", "trainer.learning_rate=1e-6", "trainer.lr_scheduler_type=constant"),
    *("model.dtype=bfloat16", "trainer.warmup_ratio=0", "trainer.micro_batch_size=4"),
]


@pytest.fixture
def trained(compose_config, saved_model, tmp_path):
    """A trainer after two steps, and what its trained weights were before."""

    def train(*overrides):
        cfg = compose_config("~launcher", f"model.path={saved_model}", *SMALL, *overrides)
        splits = load_splits(cfg.dataset, seed=1, verifier=build_verifier(cfg.dataset))
        rewards = build_rewards(cfg.rewards)
        trainer = build_trainer(cfg, tmp_path, rewards, splits, NullTracker(), Progress(tmp_path))
        before = {name: weight.clone() for name, weight in learning(trainer)}
        trainer.train()
        return trainer, before

    return train


def learning(trainer):
    return [(n, p.detach()) for n, p in trainer.model.named_parameters() if p.requires_grad]


def test_all_of_a_whole_model_moves_at_its_small_learning_rate(trained):
    trainer, before = trained("peft=none")
    linear = [(n, p) for n, p in learning(trainer) if "proj.weight" in n]
    assert all(weight.dtype is torch.float32 for _, weight in linear)
    moved = torch.cat([(weight != before[name]).flatten() for name, weight in linear])
    assert moved.float().mean() > 0.95, "in pure bfloat16 none would"
    with trainer.inference() as model:
        assert torch.is_autocast_enabled("cpu")
        assert model(torch.tensor([[5, 6, 7]])).logits.isfinite().all()


def test_modules_saved_whole_are_trained_in_float32_and_saved(trained, tmp_path, saved_model):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    trainer, before = trained("peft=lora", "peft.modules_to_save=[lm_head,embed_tokens]")
    copies = [(name, weight) for name, weight in learning(trainer) if "modules_to_save" in name]
    assert {name.split(".modules_to_save")[0].rsplit(".")[-1] for name, _ in copies} == {
        *("lm_head", "embed_tokens")
    }
    assert all(weight.dtype is torch.float32 for _, weight in learning(trainer))
    assert all((weight != before[name]).any() for name, weight in copies)
    trainer.save_model(str(tmp_path / "adapter"))
    base = AutoModelForCausalLM.from_pretrained(saved_model)
    again = PeftModel.from_pretrained(base, str(tmp_path / "adapter"))
    saved = {n: p for n, p in again.named_parameters() if "modules_to_save" in n}
    assert all(torch.allclose(saved[name].float(), weight) for name, weight in copies)
