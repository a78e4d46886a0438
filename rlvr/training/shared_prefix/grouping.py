"""Rows of one prompt in one micro-batch, so that its question is computed once."""

from typing import Any

import torch
from torch import Tensor
from trl.trainer.utils import split_tensor_dict


def keep_groups_together(batches: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same rows in as many batches, groups contiguous, in the order of TRL's own shuffle."""
    if len(batches) == 1:
        return batches
    first = batches[0]
    merged = {
        key: torch.cat([batch[key] for batch in batches]) if _per_row(value) else value
        for key, value in first.items()
    }
    order = _by_first_appearance(torch.cat([merged["prompt_ids"], merged["prompt_mask"]], dim=1))
    merged = {key: value[order] if _per_row(value) else value for key, value in merged.items()}
    return split_tensor_dict(merged, len(batches))  # type: ignore[no-any-return]


def _per_row(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0


def _by_first_appearance(rows: Tensor) -> Tensor:
    """Indices (B,) that bring equal rows together, groups in the order of their first row."""
    group = torch.unique(rows, dim=0, return_inverse=True)[1]
    first = torch.full_like(group, len(group))
    first = first.scatter_reduce(0, group, torch.arange(len(group), device=group.device), "amin")
    return first[group].argsort(stable=True)
