"""Several optimizer steps, on one process and on two."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rlvr.training.shared_prefix.update import Sharing

pytestmark = pytest.mark.filterwarnings("ignore")

STOCK_OFF = Sharing("off", skip_zero_advantage=False)


def trained(
    harness: Any, directory: Path, sharing: Any, attention: str = "sdpa", seed: int = 0
) -> Tensor:
    """All weights, in one vector, after ten steps of AdamW on two micro-batches each."""
    trainer = harness.build(
        directory,
        harness.few_shot(4, groups=4, seed=seed),
        sharing,
        model=harness.tiny_model(directory, attention=attention),
        max_steps=10,
        learning_rate=1e-3,
        per_device_train_batch_size=8,
        gradient_accumulation_steps=2,
    )
    trainer.train()
    return torch.cat([p.detach().flatten().double() for p in trainer.model.parameters()])


@pytest.mark.slow
def test_ten_steps_end_where_stock_ends(harness: Any, tmp_path: Path) -> None:
    """As close to stock as stock is to itself with another attention function.

    All distances are rounding that AdamW amplifies, hence a factor of two and several batches.
    """
    between_kernels, ours = 0.0, dict.fromkeys(("dense", "tree"), 0.0)
    for seed in range(3):
        stock = trained(harness, tmp_path, None, seed=seed)
        between_kernels += float((stock - trained(harness, tmp_path, None, "eager", seed)).norm())
        for mode in ours:
            weights = trained(harness, tmp_path, Sharing(mode), seed=seed)
            ours[mode] += float((stock - weights).norm())
    assert max(ours.values()) <= 2 * between_kernels


def test_off_is_stock_to_the_last_bit(harness: Any, tmp_path: Path) -> None:
    assert torch.equal(trained(harness, tmp_path, STOCK_OFF), trained(harness, tmp_path, None))


@pytest.mark.slow
def test_two_ranks(tmp_path: Path) -> None:
    """DDP with packs of different number and with rows that only one rank skips."""
    script = Path(__file__).with_name("two_ranks.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node=2", str(script), str(tmp_path)]
    tests = str(Path(__file__).parents[2])
    path = os.pathsep.join([tests, os.environ["PYTHONPATH"]])
    env = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "PYTHONPATH": path}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    for case in ("one micro-batch", "accumulation", "lora, accumulation, checkpointing"):
        stock, ours = (torch.load(tmp_path / f"{case}.{name}.pt") for name in ("stock", "ours"))
        assert (stock - ours).norm() / stock.norm() < 1e-5, case
        assert torch.equal(*ours), case  # on both ranks
