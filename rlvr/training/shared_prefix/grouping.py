"""Rows of one prompt in one micro-batch, so that its question is computed once."""

import math
from typing import Any

import torch
from torch import Tensor
from trl import GRPOTrainer

from rlvr.training.trl_private import split_tensor_dict

# These take each row by itself, or divide by what is the same for every micro-batch. `bnpo` divides
# by a micro-batch's tokens; a loss that is not known here may do as it likes.
ROW_BY_ROW = {"grpo", "dr_grpo", "dapo", "luspo", "cispo", "sapo", "vespo"}


def regroupable(trainer: GRPOTrainer) -> bool:
    """Whether the sum of the micro-batches' gradients is the same however rows are dealt out.

    The entropy bonus is a mean over a micro-batch, the entropy quantile one of its entropies.
    """
    return (
        trainer.loss_type in ROW_BY_ROW
        and not trainer._entropy_bonus_enabled
        and trainer.top_entropy_quantile == 1.0
    )


def keep_groups_together(batches: list[dict[str, Any]], accumulation: int) -> list[dict[str, Any]]:
    """The same rows in as many batches, groups contiguous, in the order of TRL's own shuffle.

    No row leaves its optimizer step. Steps end every `accumulation` batches and a list may be used
    several times, so what lies within the greatest common divisor of both always shares a step.
    """
    size = math.gcd(len(batches), accumulation)
    windows = (batches[i : i + size] for i in range(0, len(batches), size))
    return [batch for window in windows for batch in _grouped(window)]


def _grouped(batches: list[dict[str, Any]]) -> list[dict[str, Any]]:
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
