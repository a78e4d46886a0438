"""Rows whose advantage is zero: no gradient, so no forward and no backward.

Every loss of TRL multiplies a row's terms by its advantage and sums them over fixed normalisers.
Such a row still counts in the normalisers; only its log-probabilities, which are multiplied by
zero, are not computed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from trl import GRPOTrainer

# Each term of these is a multiple of the advantage. An unknown loss is never skipped.
PROPORTIONAL = {"grpo", "bnpo", "dr_grpo", "dapo", "luspo", "cispo", "sapo", "vespo"}

Scores = tuple[Tensor, Tensor | None, Tensor | None]  # log-probs (B, C), entropies (B, C), aux loss


def skippable(trainer: GRPOTrainer) -> bool:
    """Whether the loss has no term but the advantage's: no KL, no entropy, no router loss."""
    return (
        trainer.beta == 0.0
        and trainer.loss_type in PROPORTIONAL
        and not trainer._entropy_bonus_enabled
        and trainer.top_entropy_quantile == 1.0
        and not trainer.aux_loss_enabled
        and not trainer._is_vlm
    )


@dataclass(frozen=True)
class Trained:
    """The rows of a micro-batch that have a gradient."""

    rows: Tensor  # (K,) indices
    mask: Tensor  # (B, C) tokens in the loss
    old: Tensor | None  # (B, C) old log-probabilities

    def score(self, score: Callable[..., Scores], ids: Tensor, mask: Tensor, width: int) -> Scores:
        """Log-probs (B, C) and entropies (B, C) where only `rows` went through the model.

        The other rows get their old log-probabilities, a ratio of one, and the mean entropy of the
        trained tokens, so that TRL's logged entropy is the mean over the trained rows.
        """
        if len(self.rows) == 0:
            return self._nothing(score, ids, width)
        logps, entropies, _ = score(ids[self.rows], mask[self.rows], width)
        mean = None if entropies is None else self._mean(entropies)
        if len(self.rows) == len(ids):
            return logps, entropies, None
        logps = self._others().to(logps.dtype).index_copy(0, self.rows, logps)
        if entropies is not None and mean is not None:
            entropies = mean.expand_as(logps).clone().index_copy(0, self.rows, entropies)
        return logps, entropies, None

    def _mean(self, entropies: Tensor) -> Tensor:
        """Over the trained tokens of all ranks, each of which must ask: one may have none."""
        kept = self.mask[self.rows]
        sums = torch.stack([(entropies.detach() * kept).sum(), kept.sum()])
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(sums)
        return sums[0] / sums[1]

    def _others(self) -> Tensor:
        return torch.zeros_like(self.mask, dtype=torch.float32) if self.old is None else self.old

    def _nothing(self, score: Callable[..., Scores], ids: Tensor, width: int) -> Scores:
        """Two tokens tie the zero loss to the model: stock's gradient is zero here, not missing."""
        pair = ids[:1, -width].expand(1, 2)
        logps, entropies, _ = score(pair, torch.ones_like(pair), 1)
        mean = None if entropies is None else self._mean(entropies[:0])
        others = self._others()
        return others + 0 * logps.sum(), None if mean is None else mean.expand_as(others), None


def trained_rows(inputs: dict[str, Any]) -> Trained:
    """From the inputs of TRL's `_compute_loss`."""
    mask = inputs["completion_mask"] * inputs.get("tool_mask", 1)
    trained = (inputs["advantages"] != 0) & (mask.sum(1) > 0)
    return Trained(trained.nonzero().flatten(), mask, inputs.get("old_per_token_logps"))
