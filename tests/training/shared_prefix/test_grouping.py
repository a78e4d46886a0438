"""Gradient accumulation: groups stay in one micro-batch, in the order of TRL's shuffle."""

from pathlib import Path
from typing import Any

import pytest
import torch

from rlvr.training.shared_prefix.grouping import keep_groups_together, regroupable
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


def batches_of(*prompts: list[int]) -> list[dict[str, Any]]:
    return [
        {
            "prompt_ids": torch.tensor(row)[:, None],
            "prompt_mask": torch.ones(len(row), 1),
            "advantages": torch.tensor(row) * 10.0,
            "num_items_in_batch": torch.tensor(7),
        }
        for row in prompts
    ]


@pytest.mark.parametrize(
    ("accumulation", "windows"),
    [(4, [4]), (8, [4]), (2, [2, 2]), (6, [2, 2]), (1, [1, 1, 1, 1]), (3, [1, 1, 1, 1])],
)
def test_no_row_leaves_its_optimizer_step(accumulation: int, windows: list[int]) -> None:
    """Steps end every `accumulation` micro-batches, and several iterations go over one list."""
    batches = batches_of([1, 2], [2, 1], [1, 2], [2, 1])
    result = keep_groups_together(batches, accumulation)
    together = [sorted({int(p) for p in b["prompt_ids"]}) for b in result]
    one_prompt = [[1], [2]]
    assert (
        together
        == {
            4: [[1], [1], [2], [2]],
            2: one_prompt * 2,
            1: [[1, 2]] * 4,
        }[windows[0]]
    )


def test_only_where_a_loss_takes_each_row_by_itself(harness: Any, tmp_path: Path) -> None:
    settings: dict[str, bool] = {}
    for name in ("grpo", "bnpo", "dr_grpo", "dapo", "luspo", "cispo", "sapo", "vespo"):
        trainer = harness.build(tmp_path, harness.few_shot(1), Sharing("tree"), loss_type=name)
        settings[name] = regroupable(trainer)
    assert [name for name, allowed in settings.items() if not allowed] == ["bnpo"]
    for option in ({"entropy_coef": 0.1}, {"top_entropy_quantile": 0.5}):
        trainer = harness.build(tmp_path, harness.few_shot(1), Sharing("tree"), **option)
        assert not regroupable(trainer)


def test_rows_stay_whole() -> None:
    batches = batches_of([3, 1], [2, 1], [2, 3])
    result = keep_groups_together(batches, 3)
    assert [b["prompt_ids"].flatten().tolist() for b in result] == [[3, 3], [1, 1], [2, 2]]
    assert [b["advantages"].tolist() for b in result] == [[30, 30], [10, 10], [20, 20]]
    assert [int(b["num_items_in_batch"]) for b in result] == [7, 7, 7]
