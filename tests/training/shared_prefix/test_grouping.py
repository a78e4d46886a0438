"""Gradient accumulation: groups stay in one micro-batch, in the order of TRL's shuffle."""

from pathlib import Path
from typing import Any

import pytest
import torch

from rlvr.training.shared_prefix.grouping import keep_groups_together
from rlvr.training.shared_prefix.update import Sharing

pytestmark = pytest.mark.filterwarnings("ignore")


def prepared(harness: Any, directory: Path, sharing: Any) -> Any:
    batch = harness.few_shot(2, groups=4)
    trainer = harness.build(
        directory, batch, sharing, per_device_train_batch_size=4, gradient_accumulation_steps=4
    )
    trainer.model.train()
    inputs = next(iter(trainer.get_train_dataloader()))
    torch.manual_seed(0)
    trainer._prepare_inputs(inputs)
    return trainer._buffered_inputs, torch.rand(1)


def test_each_micro_batch_has_one_group(harness: Any, tmp_path: Path) -> None:
    def prompts(batches: Any) -> list[int]:
        return [len(b["prompt_ids"].unique(dim=0)) for b in batches]

    ours, draw = prepared(harness, tmp_path, Sharing("tree"))
    stock, stock_draw = prepared(harness, tmp_path, None)
    assert prompts(ours) == [1, 1, 1, 1]
    assert max(prompts(stock)) > 1
    # Sampling after it goes on from the same random state.
    assert draw == stock_draw


def test_rows_stay_whole() -> None:
    batches = [
        {
            "prompt_ids": torch.tensor(prompts)[:, None],
            "prompt_mask": torch.ones(2, 1),
            "advantages": torch.tensor(prompts) * 10.0,
            "num_items_in_batch": torch.tensor(7),
        }
        for prompts in ([3, 1], [2, 1], [2, 3])
    ]
    result = keep_groups_together(batches)
    assert [b["prompt_ids"].flatten().tolist() for b in result] == [[3, 3], [1, 1], [2, 2]]
    assert [b["advantages"].tolist() for b in result] == [[30, 30], [10, 10], [20, 20]]
    assert [int(b["num_items_in_batch"]) for b in result] == [7, 7, 7]
