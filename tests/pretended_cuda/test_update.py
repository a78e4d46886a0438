"""Whole updates on a device that says it is CUDA: right devices, right numbers, and no more waits
than stock TRL has."""

import json
from collections import Counter

import pytest
import torch
from peft import LoraConfig
from transformers import TrainerCallback

from rlvr.prefix import trie
from rlvr.training.shared_prefix.update import Sharing

pytestmark = pytest.mark.filterwarnings("ignore")

LORA = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
CASES = {
    "lora": {"peft": LORA, "bf16": True},
    "full, checkpointing": {"gradient_checkpointing": True, "bf16": True},
    "dense, accumulation, kl": {
        "mode": "dense",
        "peft": LORA,
        "beta": 0.1,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 3,
    },
}


class Gradients(TrainerCallback):
    def __init__(self):
        self.steps = []

    def on_pre_optimizer_step(self, *_, model, **__):
        named = model.named_parameters()
        self.steps.append({n: p.grad.cpu() for n, p in named if p.grad is not None})


def trained(harness, folder, on_cuda, mode="auto", records=(), **settings):
    """A trainer after two optimizer steps, and the gradients of both."""
    torch.manual_seed(0)  # adapters are random
    trainer = harness.build(
        folder,
        harness.few_shot(4),
        Sharing(mode, skip_zero_advantage=False, attention_records=records),
        **{"optim": "sgd", "max_grad_norm": 0.0, "max_steps": 2, "use_cpu": not on_cuda},
        **settings,
    )
    trainer.add_callback(gradients := Gradients())
    trainer.train()
    return trainer, gradients.steps


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_gradients_are_those_of_the_cpu(harness, tmp_path, no_cuda, case):
    from pretended_cuda.pretence import pretended_cuda

    settings = dict(CASES[case])
    _, expected = trained(harness, tmp_path / "cpu", on_cuda=False, **settings)
    with pretended_cuda():
        _, steps = trained(harness, tmp_path / "cuda", on_cuda=True, **settings)
    off = 0.05 if settings.get("bf16") else 1e-4
    assert len(steps) == len(expected) == 2
    for ours, theirs in zip(steps, expected, strict=True):
        assert ours.keys() == theirs.keys()
        whole = torch.stack([x.norm() for x in theirs.values()]).norm()
        distance = torch.stack([(ours[n] - x).norm() for n, x in theirs.items()]).norm()
        assert distance <= off * whole, case


@pytest.mark.slow
def test_the_attention_is_chosen_and_written_down(harness, tmp_path, cuda):
    record = tmp_path / "shared_attention.json"
    trainer, _ = trained(harness, tmp_path, on_cuda=True, peft=LORA, bf16=True, records=(record,))
    made = json.loads(record.read_text())
    assert trainer.attention.made == made
    assert set(made["order"]) == {"varlen", "dense"}
    assert "Cannot find a working triton" in made["tried"]["flex"]["failed"]
    for name in made["order"]:
        assert len(made["tried"][name]["differences"]) == 3
        assert made["tried"][name]["seconds"] > 0


def test_a_cpu_tensor_is_found(harness, tmp_path, cuda, monkeypatch):
    """As somebody might forget it: positions that stay where numpy had them."""
    moved = trie.tensors

    def forgetful(packed, device):
        return moved(packed, device) | {"position_ids": torch.from_numpy(packed.position_ids)[None]}

    monkeypatch.setattr("rlvr.training.shared_prefix.scoring.tensors", forgetful)
    with pytest.raises(Exception, match="same device"):
        trained(harness, tmp_path, on_cuda=True, mode="dense")


class Second(TrainerCallback):
    """What the second optimizer step asks of the device: the first one also compares and tries."""

    def __init__(self, record):
        self.record, self.counts = record, {}

    def on_step_begin(self, *_, **__):
        self.record.clear()

    def on_pre_optimizer_step(self, *_, **__):
        self.counts = {
            name: getattr(self.record, name).copy() for name in ("kernels", "waits", "copies")
        }


def asked(harness, folder, cuda, mode, **settings):
    forced = {"optim": "sgd", "max_steps": 2, "use_cpu": False, "peft": LORA, "bf16": True}
    trainer = harness.build(folder, harness.few_shot(4), Sharing(mode, False), **forced, **settings)
    trainer.add_callback(second := Second(cuda))
    trainer.train()
    return second.counts


@pytest.mark.slow
@pytest.mark.parametrize("accumulation", [1, 3])
def test_no_more_waits_than_stock_but_for_the_tokens(harness, tmp_path, cuda, accumulation):
    """The host gets the tokens that it folds, once a pass, and the prompts that it groups; TRL's
    head waits once more a micro-batch where it has only some positions to score."""
    settings = {
        "per_device_train_batch_size": 12 // accumulation,
        "gradient_accumulation_steps": accumulation,
    }
    stock = asked(harness, tmp_path / "stock", cuda, "off", **settings)
    ours = asked(harness, tmp_path / "varlen", cuda, "varlen", **settings)
    files = ("rlvr/prefix/trie.py", "rlvr/training/shared_prefix/grouping.py")
    folding = Counter({call: n for call, n in ours["waits"].items() if call[1].startswith(files)})
    passes = 1 if accumulation == 1 else 2 * accumulation  # those of the step's prefix, too
    grouped = 0 if accumulation == 1 else 4
    assert 0 < folding.total() <= passes + grouped, folding
    rest = ours["waits"] - folding
    assert rest.total() <= stock["waits"].total() + accumulation, rest - stock["waits"]
    assert ours["copies"].total() <= stock["copies"].total(), ours["copies"] - stock["copies"]
