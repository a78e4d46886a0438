"""The first training step's log-probabilities against the plain path, on two rows."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rlvr.errors import UserError

EXACT = 2e-3  # largest difference of two log-probabilities in float32
ROUNDED = 0.1  # mean difference with 16-bit or quantised arithmetic


def verify(
    plain: Callable[..., Any], model: Any, ids: Tensor, mask: Tensor, ours: Tensor, exact: bool
) -> None:
    """Raise UserError unless `plain` (TRL's own method) agrees with `ours` (B, C).

    `exact` says that all arithmetic is in float32. The first row and the last are far apart in the
    packed row, and see different parts of it.
    """
    rows, width = torch.tensor([0, len(ids) - 1]).unique(), ours.shape[1]
    with torch.no_grad():
        expected = plain(model, ids[rows], mask[rows], width)[0]
    difference = (ours.detach()[rows] - expected).abs()[mask[rows, -width:].bool()]
    found, limit = (difference.max(), EXACT) if exact else (difference.mean(), ROUNDED)
    if not found <= limit:  # also when it is NaN
        raise UserError(
            f"trainer.self_check: with shared prefixes, log-probabilities differ from the plain "
            f"path by {found:.3g} ({'largest' if exact else 'mean'} difference; at most {limit} "
            f"is rounding). Set trainer.shared_prefix=off, and please report the model."
        )


def float32(model: Any) -> bool:
    """Whether all of a model's weights are."""
    return {p.dtype for p in model.parameters()} == {torch.float32}
