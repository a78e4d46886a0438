"""Our trainer is stock TRL but for what it samples; what the stop rule adds is not in the loss."""

import copy
from contextlib import contextmanager

import pytest
import torch
from accelerate import Accelerator
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from rlvr.rewards.reward import Reward
from rlvr.sampling.stop import StopRule
from rlvr.training.shared_prefix.update import Sharing
from rlvr.training.trainer import Trainer, rollout
from rlvr.verify.numeric import NumericVerifier
from rlvr.verify.verdict import Reason, Verdict

PROMPTS = [f"Question: {n} + {n + 1}?\nSolution: Let's think step by step." for n in range(8)]


def share_of_ones(completions, **_):
    return [text.count("1") / (len(text) + 1) for text in completions]


def arguments(folder, **changes):
    values = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 8,
        "num_generations": 4,
        "num_generations_eval": 1,
        "max_completion_length": 12,
        "max_steps": 2,
        "learning_rate": 1e-3,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "dataloader_pin_memory": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "seed": 3,
    }
    return GRPOConfig(**{**values, **changes})


@pytest.fixture
def dataset():
    return Dataset.from_dict({"prompt": PROMPTS, "gold": ["1"] * len(PROMPTS)})


STOCK = Sharing(shared_prefix="off", skip_zero_advantage=False, self_check=False)


def ours(model, tokenizer, dataset, folder, stop, **changes):
    return Trainer(
        sharing=STOCK,
        prefix_cache=False,
        model=model,
        tokenizer=tokenizer,
        args=arguments(folder, **changes),
        rewards=[Reward("ones", share_of_ones, 1.0, {})],
        verifier=NumericVerifier(),
        stop=stop,
        train_dataset=dataset,
        eval_dataset=dataset,
    )


def test_two_steps_on_the_same_completions_are_stock_steps(
    random_model, tokenizer, dataset, tmp_path
):
    """Stock is given what ours sampled."""
    stock_model = copy.deepcopy(random_model)
    trainer = ours(random_model, tokenizer, dataset, tmp_path / "a", StopRule())
    sampled = []

    def record(prompts, trainer):
        sampled.append(rollout(prompts, trainer))
        return dict(sampled[-1])

    trainer.rollout_func = record
    trainer.train()
    replayed = iter(copy.deepcopy(sampled))
    GRPOTrainer(
        model=stock_model,
        reward_funcs=[share_of_ones],
        args=arguments(tmp_path / "b"),
        train_dataset=dataset,
        processing_class=tokenizer,
        rollout_func=lambda prompts, trainer: next(replayed),
    ).train()
    assert len(sampled) == 2
    for (name, mine), theirs in zip(
        random_model.named_parameters(), stock_model.parameters(), strict=True
    ):
        assert torch.equal(mine, theirs), name


def test_stopped_rows_count_as_ended_and_their_eos_is_masked(
    random_model, tokenizer, dataset, tmp_path
):
    every_character = StopRule(tuple(chr(c) for c in range(32, 127)))
    trainer = ours(random_model, tokenizer, dataset, tmp_path, every_character)
    out = rollout(PROMPTS[:3], trainer)
    for ids, mask in zip(out["completion_ids"], out["env_mask"], strict=True):
        assert len(ids) == len(mask)
        if mask[-1] == 0:
            assert ids[-1] == tokenizer.eos_token_id
            assert all(mask[:-1])
    assert any(mask[-1] == 0 for mask in out["env_mask"])
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "reward" in entry]
    assert all(entry["completions/clipped_ratio"] == 0 for entry in logged)


class Slow:
    """Pays for a text's length, and says whether it was begun while others were sampled."""

    def __init__(self, early):
        self.alone, self.begun = 0, 0
        if early:
            self.begin = self._begin

    def canonical(self, gold):
        return gold

    def verify(self, completions, golds, **columns):
        assert "question" not in columns
        self.alone += len(completions)
        return [Verdict(len(text) / 100, Reason.PARTIAL, text[:9]) for text in completions]

    @contextmanager
    def _begin(self):
        def submit(completion, gold, **columns):
            self.begun += 1
            (verdict,) = self.verify([completion], [gold], **columns)
            return lambda: verdict

        yield submit


def test_judging_while_others_are_sampled_changes_nothing(
    random_model, tokenizer, dataset, tmp_path
):
    found = []
    for early in (False, True):
        trainer = ours(
            copy.deepcopy(random_model), tokenizer, dataset, tmp_path, StopRule(tuple("aeiou"))
        )
        trainer.verifier = Slow(early)
        paid = Reward("length", lambda verdicts, **_: [v.reward for v in verdicts], 1.0, {})
        trainer.reward_funcs = [paid]
        trainer.train()
        logs = [{k: v for k, v in entry.items() if k == "reward" or k.startswith("reasons")}
                for entry in trainer.state.log_history]  # fmt: skip
        found.append((logs, [p.tolist() for p in trainer.model.parameters()]))
        assert (trainer.verifier.begun, trainer.verifier.alone) == (16 * early, 16)
    assert found[0] == found[1]


def test_evaluation_draws_one_completion_a_prompt(random_model, tokenizer, dataset, tmp_path):
    trainer = ours(random_model, tokenizer, dataset, tmp_path, StopRule())
    metrics = trainer.evaluate()
    assert 0 <= metrics["eval_reward"] <= 1


def test_calls_and_ranks_draw_different_samples(
    random_model, tokenizer, dataset, tmp_path, monkeypatch
):
    trainer = ours(random_model, tokenizer, dataset, tmp_path, StopRule())
    ids = tokenizer(text=PROMPTS[:1] * 4)["input_ids"]
    seen = set()
    for rank in range(2):
        monkeypatch.setattr(Accelerator, "num_processes", 2)
        monkeypatch.setattr(Accelerator, "process_index", rank)
        trainer.draws.manual_seed(1)  # the same state in both
        first, second = trainer.sample(random_model, ids), trainer.sample(random_model, ids)
        seen |= {tuple(row) for row in first.ids + second.ids}
    assert len(seen) == 16
    trainer.draws.manual_seed(1)
    assert trainer.sample(random_model, ids) == first


def test_inference_restores_training_mode_and_checkpointing(
    random_model, tokenizer, dataset, tmp_path
):
    trainer = ours(
        random_model, tokenizer, dataset, tmp_path, StopRule(), gradient_checkpointing=True
    )
    trainer.model.train()
    trainer.model.gradient_checkpointing_enable()
    with trainer.inference() as model:
        assert not model.training
        assert not model.is_gradient_checkpointing
    assert trainer.model.training
    assert trainer.model.is_gradient_checkpointing
