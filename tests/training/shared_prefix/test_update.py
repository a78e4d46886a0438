"""Whole updates of TRL's trainer, plain and shared, on the same forced completions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from torch import Tensor
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, TrainerCallback

from rlvr.errors import UserError
from rlvr.prefix.attention import TreeBlocks
from rlvr.training.model import keep_differentiable
from rlvr.training.shared_prefix.update import Sharing

pytestmark = pytest.mark.filterwarnings("ignore")

MODES = ["dense", "tree"]
FAMILIES = ["qwen2", "llama", "olmo2"]
LORA = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
Steps = list[dict[str, Tensor]]


class Gradients(TrainerCallback):
    """The gradient of every optimizer step, before it is used."""

    def __init__(self) -> None:
        self.steps: Steps = []

    def on_pre_optimizer_step(self, *_: Any, model: Any, **__: Any) -> None:
        named = model.named_parameters()
        self.steps.append({n: p.grad.clone() for n, p in named if p.grad is not None})


@pytest.fixture
def update(harness: Any, tmp_path: Path) -> Callable[..., Steps]:
    """Train for a step or more; the gradients of each."""

    def run(batch: Any, sharing: Any, steps: int = 1, **settings: Any) -> Steps:
        # Plain SGD: Adam would turn the rounding of a vanishing gradient into a whole step.
        settings = {"optim": "sgd", "max_grad_norm": 0.0, "max_steps": steps, **settings}
        trainer = harness.build(tmp_path, batch, sharing, **settings)
        trainer.add_callback(record := Gradients())
        trainer.train()
        return record.steps

    return run


def assert_close(ours: Steps, stock: Steps, tolerance: float = 1e-5) -> None:
    assert len(ours) == len(stock)
    for a, b in zip(ours, stock, strict=True):
        assert a.keys() == b.keys()
        for name, gradient in b.items():
            scale = gradient.norm()
            # A key's bias moves all scores of a query alike: its gradient is rounding.
            if scale > 1e-4:
                assert (a[name] - gradient).norm() / scale <= tolerance, name


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shots", [0, 1, 8])
@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_of_model_families(
    update: Any, harness: Any, tmp_path: Path, family: str, shots: int, mode: str
) -> None:
    batch = harness.few_shot(shots, seed=shots)
    stock = update(batch, None, model=harness.tiny_model(tmp_path, family))
    ours = update(batch, Sharing(mode), model=harness.tiny_model(tmp_path, family))
    assert_close(ours, stock)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("family", FAMILIES)
def test_log_probabilities_and_entropies(
    harness: Any, tmp_path: Path, family: str, mode: str
) -> None:
    batch = harness.few_shot(4)
    model = harness.tiny_model(tmp_path, family)
    trainer = harness.build(tmp_path, batch, Sharing(mode), model=model)
    width = max(len(c) for _, c in batch)
    arguments = (trainer.model, *harness.padded(batch), width)
    plain = super(type(trainer), trainer)._get_per_token_logps_and_entropies
    stock = plain(*arguments, compute_entropy=True)
    for size in (None, 3):
        ours = trainer._get_per_token_logps_and_entropies(
            *arguments, batch_size=size, compute_entropy=True
        )
        for a, b in zip(ours[:2], stock[:2], strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


LOSSES = ("grpo", "bnpo", "dr_grpo", "dapo", "luspo", "cispo", "sapo", "vespo")
REENTRANT = {
    "gradient_checkpointing": True,
    "gradient_checkpointing_kwargs": {"use_reentrant": True},
}
ACCUMULATION = {"gradient_accumulation_steps": 3, "per_device_train_batch_size": 4}
# Two generations in one optimizer step, and one generation for two of them.
SEVERAL = {
    "gradient_accumulation_steps": 4,
    "steps_per_generation": 2,
    "per_device_train_batch_size": 6,
}
LESS = {
    "gradient_accumulation_steps": 2,
    "steps_per_generation": 4,
    "per_device_train_batch_size": 3,
    "steps": 2,
}
OPTIONS: dict[str, dict[str, Any]] = {
    **{f"loss {name}": {"loss_type": name, **ACCUMULATION} for name in LOSSES},
    "sequence ratios": {"importance_sampling_level": "sequence"},
    "kl": {"beta": 0.1, "steps": 2},
    "entropy bonus": {"entropy_coef": 0.1},
    # Not one half, which falls between the equal entropies of the repeated completion.
    "entropy quantile": {"top_entropy_quantile": 0.4},
    "truncated masked": {"mask_truncated_completions": True},
    "lora": {"peft": LORA},
    "lora, kl": {"peft": LORA, "beta": 0.1, "steps": 2},
    "checkpointing": {"gradient_checkpointing": True},
    "reentrant": REENTRANT,
    "reentrant, lora": {"peft": LORA, **REENTRANT},
    "two iterations": {"num_iterations": 2, "steps": 2},
    "one row a micro-batch": {"gradient_accumulation_steps": 12, "per_device_train_batch_size": 1},
    "several generations a step": SEVERAL,
    "several steps a generation": LESS,
    "several steps a generation, bnpo": {**LESS, "loss_type": "bnpo"},
    "several steps and iterations a generation": {**LESS, "num_iterations": 2, "steps": 4},
    "entropy bonus, accumulation": {"entropy_coef": 0.1, **ACCUMULATION},
    "entropy quantile, accumulation": {"top_entropy_quantile": 0.4, **ACCUMULATION},
    "kl, accumulation": {"beta": 0.1, "steps": 2, **ACCUMULATION},
    "lora, kl, accumulation": {"peft": LORA, "beta": 0.1, "steps": 2, **ACCUMULATION},
    "checkpointing, accumulation": {"gradient_checkpointing": True, **ACCUMULATION},
    "reentrant, accumulation": {**REENTRANT, **ACCUMULATION},
    "reentrant, lora, accumulation": {"peft": LORA, **REENTRANT, **ACCUMULATION},
    "old log-probs": {"steps_per_generation": 2, "per_device_train_batch_size": 12},
}


@pytest.mark.parametrize(("mode", "budget"), [("dense", None), ("tree", 60)])
@pytest.mark.parametrize("option", OPTIONS)
def test_gradients_under_every_option(
    update: Any, harness: Any, option: str, mode: str, budget: int | None
) -> None:
    batch, settings = harness.few_shot(3), OPTIONS[option]
    stock = update(batch, None, **settings)
    assert_close(update(batch, Sharing(mode, token_budget=budget), **settings), stock)


def distance(a: Steps, b: Steps) -> float:
    return float(torch.stack([(a[0][n] - b[0][n]).norm() for n in b[0]]).norm())


ROUNDED: dict[str, dict[str, Any]] = {
    "bf16 autocast": {"bf16": True},
    "bf16 autocast, reentrant": {"bf16": True, **REENTRANT},
    "bf16 weights, lora": {"dtype": torch.bfloat16, "peft": LORA},
    # TRL trains the adapter of a quantised model in bf16.
    "qlora": {"quantization_config": BitsAndBytesConfig(load_in_4bit=True), "peft": LORA},
    "qlora, accumulation, checkpointing": {
        "quantization_config": BitsAndBytesConfig(load_in_4bit=True),
        "peft": LORA,
        "gradient_checkpointing": True,
        **ACCUMULATION,
    },
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("option", ROUNDED)
def test_rounding_is_that_of_another_attention_kernel(
    update: Any, harness: Any, tmp_path: Path, option: str, mode: str
) -> None:
    """Where arithmetic rounds to 8 bits, stock with eager and with sdpa differ as much."""
    batch, settings = harness.few_shot(3), dict(ROUNDED[option])
    names = {"dtype", "quantization_config"} & settings.keys()
    load = {name: settings.pop(name) for name in names}
    # bitsandbytes wants dimensions that are multiples of 64.
    path = harness.tiny_model(tmp_path, hidden_size=64, intermediate_size=128).config._name_or_path

    def run(attention: str, sharing: Any) -> Steps:
        model = AutoModelForCausalLM.from_pretrained(path, attn_implementation=attention, **load)
        keep_differentiable(model)
        torch.manual_seed(0)  # adapters are random
        steps: Steps = update(batch, sharing, model=model, **settings)
        return steps

    stock = run("sdpa", None)
    # With accumulation, micro-batches of other rows are also summed in bf16.
    times = 3 if "accumulation" in option else 2
    between = distance(run("eager", None), stock)
    assert distance(run("sdpa", Sharing(mode)), stock) < times * between


def test_wrong_attention_is_found_by_the_self_check(
    harness: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the blocks between segments, completions do not see their prompt."""
    whole = TreeBlocks.__init__

    def broken(self: Any, *arguments: Any) -> None:
        whole(self, *arguments)
        self.blocks = [block for block in self.blocks if block[2]]

    monkeypatch.setattr(TreeBlocks, "__init__", broken)
    batch = harness.few_shot(2)
    with pytest.raises(UserError, match=r"trainer\.self_check.*shared_prefix=off"):
        harness.build(tmp_path, batch, Sharing("tree")).train()
    harness.build(tmp_path, batch, Sharing("tree", self_check=False)).train()
