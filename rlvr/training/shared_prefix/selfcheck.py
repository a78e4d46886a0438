"""The first step's log-probabilities and gradient against the plain path, on a few of its rows."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from rlvr.prefix.agreement import (
    Difference,
    Values,
    compare,
    of_gradients,
    of_log_probs,
    require,
)
from rlvr.prefix.precision import in_float32
from rlvr.prefix.trie import rows_of
from rlvr.training.shared_prefix.scoring import PackedScorer

WAY_OUT = "trainer.shared_prefix=off"
MOST = 2**26  # numbers in the gradients that are compared


@dataclass(frozen=True)
class Rows:
    """Some rows of a micro-batch, and a loss of them that is linear in their log-probabilities."""

    ids: Tensor  # (K, T)
    mask: Tensor  # (K, T)
    weights: Tensor  # (K, C) of each completion token's log-probability in the loss

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, at: Sequence[int]) -> "Rows":
        index = torch.tensor(at, device=self.ids.device)
        return Rows(self.ids[index], self.mask[index], self.weights[index])

    @property
    def width(self) -> int:
        return self.weights.shape[1]


def trained(inputs: dict[str, Any], rows: Tensor) -> Rows:
    """The given rows of the inputs of TRL's `_compute_loss`, weighted as a policy gradient is."""
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
    mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
    weights = inputs["completion_mask"] * inputs.get("tool_mask", 1)
    advantages = inputs["advantages"].where(inputs["advantages"] != 0, 1.0)
    return Rows(ids[rows], mask[rows], (weights * advantages[:, None])[rows])


class Reference:
    """What the plain path, TRL's own method, makes of a few rows, and another stock attention.

    Log-probabilities also in float32, where a fault cannot hide behind the rounding of 16 bits.
    At most four rows are compared: two that lie side by side, which share most, and the farthest
    ones. Stock takes them one by one.
    """

    def __init__(self, plain: Callable[..., Any], model: Any, rows: Rows) -> None:
        last = len(rows) - 1
        self.model, self.parameters = model, _checked(model)
        self.rows = few = rows.take(sorted({0, min(1, last), last // 2, last}))
        ones = [few.take([i]) for i in range(len(few))]

        def by_rows() -> Values:
            parts = [_one(plain, model, row, self.parameters) for row in ones]
            logps, *gradients = (list(x) for x in zip(*parts, strict=True))
            return torch.cat(logps), *(torch.stack(g).sum(0) for g in gradients)

        with torch.no_grad(), in_float32(model):
            in_32 = compare(lambda: (torch.cat([_plain_log_probs(model, r) for r in ones]),), model)
        self.in_float32 = [values[0][self.scored] for values in in_32]
        self.values = compare(by_rows, model)

    @property
    def scored(self) -> Tensor:
        return self.rows.weights != 0

    def differences(self, scorer: PackedScorer, once: bool) -> Iterator[tuple[str, Difference]]:
        """Of the shared path; `once` says that the step's prefix has a pass of its own."""
        found = _shared_in_float32(scorer, self.model, self.rows, once)[self.scored]
        yield "log-probabilities in float32", of_log_probs(found, *self.in_float32)
        ours = _shared(scorer, self.model, self.rows, self.parameters, once)
        stock, other = self.values
        logps = (values[0][self.scored] for values in (ours, stock, other))
        yield "log-probabilities", of_log_probs(*logps)
        yield "gradients", of_gradients(ours[1:], stock[1:], other[1:])


def verify(
    plain: Callable[..., Any], scorer: PackedScorer, model: Any, rows: Rows, once: bool
) -> None:
    """Raise UserError unless the shared path is the plain one but for rounding."""
    for what, difference in Reference(plain, model, rows).differences(scorer, once):
        require(what, WAY_OUT, difference)


@torch.no_grad()
def _shared_in_float32(scorer: PackedScorer, model: Any, rows: Rows, once: bool) -> Tensor:
    with in_float32(model):
        own, scorer.autocast = scorer.autocast, nullcontext
        try:
            # Row by row, so that they are several packs where the step has several.
            size = 1 if once else None
            return scorer.score(model, rows.ids, rows.mask, rows.width, size)[0]
        finally:
            scorer.autocast = own


def _plain_log_probs(model: Any, row: Rows) -> Tensor:
    """As TRL's own method, but without autocast."""
    labels = row.ids.masked_fill(row.mask == 0, -100)
    labels[:, : -row.width] = -100
    output = model(input_ids=row.ids, attention_mask=row.mask, labels=labels, fused_lm_head=True)
    log_probs: Tensor = output.log_probs[:, -row.width :]
    return log_probs


def _checked(model: Any) -> list[Tensor]:
    """The first trained parameters, as many as fit: their gradient has come through all layers."""
    chosen, size = [], 0
    for parameter in model.parameters():
        if parameter.requires_grad and size + parameter.numel() <= MOST:
            chosen.append(parameter)
            size += parameter.numel()
    return chosen


def _one(plain: Callable[..., Any], model: Any, row: Rows, parameters: list[Tensor]) -> Values:
    logps = plain(model, row.ids, row.mask, row.width)[0]
    return logps.detach(), *gradient((logps * row.weights).sum(), parameters)


def _shared(
    scorer: PackedScorer, model: Any, rows: Rows, parameters: list[Tensor], once: bool
) -> Values:
    forwarded = scorer.forwarded
    prefix = scorer.begin(model, rows_of(rows.ids, rows.mask, rows.width)) if once else None
    scorer.prefix = prefix
    try:
        logps = scorer.score(model, rows.ids, rows.mask, rows.width)[0]
        leaves = list(chain(*prefix.leaves.values())) if prefix else []
        found = gradient((logps * rows.weights).sum(), [*parameters, *leaves])
        gradients = found[: len(parameters)]
        if prefix:
            for leaf, collected in zip(leaves, found[len(parameters) :], strict=True):
                leaf.grad = collected
            more = gradient(prefix.hidden, parameters)
            gradients = tuple(a + b for a, b in zip(gradients, more, strict=True))
    finally:
        scorer.prefix, scorer.forwarded = None, forwarded
    return logps.detach(), *gradients


def gradient(of: Tensor, parameters: Sequence[Tensor]) -> Values:
    """d(of)/d(parameters), zeros where there is none; of several numbers, with gradient zero.

    Not `backward()`: a distributed wrapper would take it for the step's own.
    """
    start = None if of.ndim == 0 else torch.zeros_like(of)
    return torch.autograd.grad(of, parameters, start, allow_unused=True, materialize_grads=True)
