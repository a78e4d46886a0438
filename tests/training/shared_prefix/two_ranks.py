"""Run by torchrun: a rank's part of a DDP update, stock and shared; rank 0 saves the gradients."""

import sys
from pathlib import Path
from typing import Any

import shared_prefix_harness as harness
import torch
from peft import LoraConfig
from transformers import TrainerCallback

from rlvr.training.shared_prefix.update import Sharing


class Save(TrainerCallback):
    def __init__(self, path: Path) -> None:
        self.path = path

    def on_pre_optimizer_step(self, args: Any, *_: Any, model: Any, **__: Any) -> None:
        gradients = torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad])
        both = torch.stack([gradients.clone() for _ in range(2)])
        torch.distributed.all_gather(list(both), gradients)
        if args.process_index == 0:
            torch.save(both, self.path)


def reward(prompts: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
    """The first question's group is all equal, so the rank that has it has nothing to train."""
    first = harness.few_shot(3, groups=2)[0][0]
    rewards = harness.reward(completion_ids)
    equal = " ".join(map(str, first))
    return [1.0 if p == equal else r for p, r in zip(prompts, rewards, strict=True)]


CASES: dict[str, dict[str, Any]] = {
    "one micro-batch": {"per_device_train_batch_size": 4},
    "accumulation": {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2},
    "lora, accumulation, checkpointing": {
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "gradient_checkpointing": True,
        "peft_config": True,
    },
}


def main(directory: Path) -> None:
    torch.set_num_threads(1)
    batch = harness.few_shot(3, groups=2)
    for case, settings in CASES.items():
        for name, sharing in (("stock", None), ("ours", Sharing("tree", token_budget=35))):
            options = dict(settings)
            lora = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
            torch.manual_seed(0)  # adapters are random
            trainer = harness.build(
                directory / name,
                batch,
                sharing,
                reward=reward,
                peft=lora if options.pop("peft_config", None) else None,
                max_grad_norm=0.0,
                ddp_backend="gloo",
                **options,
            )
            trainer.add_callback(Save(directory / f"{case}.{name}.pt"))
            trainer.train()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
