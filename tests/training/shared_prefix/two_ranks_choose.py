"""Run by torchrun: two ranks that measure otherwise, and one on which an attention fails later."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import shared_prefix_harness as harness
import torch
from torch import Tensor
from transformers import TrainerCallback

from rlvr.prefix.attention import DenseMask, TreeBlocks
from rlvr.training.shared_prefix import attention_choice, update
from rlvr.training.shared_prefix.update import Sharing

RANK = int(os.environ["RANK"])
SECONDS = {"tiring": (1.0, 8.0), "dense": (9.0, 9.0), "tree": (4.0, 4.0)}  # by rank
STEP = 0


class Tiring(DenseMask):
    def __call__(self, *arguments: Any) -> Tensor:
        if STEP == 1 and RANK == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().__call__(*arguments)


HERE = {"tiring": Tiring, "dense": DenseMask, "tree": TreeBlocks}


class Steps(TrainerCallback):
    def on_step_end(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        global STEP
        STEP = state.global_step


def seconds(scorer: Any, *_: Any) -> float:
    name = next(name for name, kind in HERE.items() if kind is scorer.kind)
    return SECONDS[name][RANK]


def main(directory: Path) -> None:
    torch.set_num_threads(1)
    update.kinds = lambda *_: HERE  # type: ignore[assignment]
    attention_choice._seconds = seconds
    trainer = harness.build(
        directory,
        harness.few_shot(3, groups=2),
        Sharing("tree"),
        per_device_train_batch_size=4,
        max_steps=3,
        ddp_backend="gloo",
    )
    chosen = {}

    class First(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            names = list(trainer.attention.attentions.kinds)
            chosen.setdefault("chosen", names)
            chosen["left"] = names
            if trainer.state.global_step == 1:  # what is in use on one rank fails there
                trainer.attention.attentions.order(["tiring", "dense", "tree"])

    trainer.add_callback(Steps())
    trainer.add_callback(First())
    trainer.train()
    (directory / f"{RANK}.json").write_text(json.dumps(chosen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
