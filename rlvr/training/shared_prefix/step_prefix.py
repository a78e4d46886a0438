"""The few-shot prefix, which goes through the model once per optimizer step.

Begin: the prefix is forwarded once, with a graph. Each layer's keys and values are kept as leaves,
and a node is put on the originals: identity forward, and backward it adds what the leaves have
collected. Middle: each micro-batch packs its remainders alone and attends to [leaves, own trie];
its backward ends at the leaves, whose gradients add up. End: one backward of the prefix's hidden
state with gradient zero. All gradient enters at the nodes, so it does not matter whether layers
are checkpointed, or how: a recomputed layer has the node again.

Only keys and values are handed on: the token that predicts the first scored one is in no prefix.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlvr.prefix.attention import AttentionFunction, AttentionKind, no_mask
from rlvr.prefix.support import base_model
from rlvr.prefix.trie import UNSCORED, Ints, Packed, TokenRow, on_device, pack

# A pass costs more than a few tokens do in the passes of the micro-batches.
SHORTEST = 16  # tokens


def common_prefix(rows: Sequence[TokenRow]) -> Ints:
    """The tokens, none of them scored, with which every row begins, (n,)."""
    if not rows:
        return np.empty(0, np.int64)
    first = rows[0].tokens
    n = min(_unscored(row.labels) for row in rows)
    for row in rows[1:]:
        n = min(n, _agreeing(first, row.tokens))
    return first[:n]


def _unscored(labels: Ints) -> int:
    """How many positions come before the first scored one; a row keeps one of its own."""
    scored = labels != UNSCORED
    return int(scored.argmax()) if scored.any() else max(0, len(labels) - 1)


def _agreeing(a: Ints, b: Ints) -> int:
    n = min(len(a), len(b))
    return int((a[:n] == b[:n]).cumprod().sum())


def leading(packed: Packed, tokens: Ints) -> int:
    """How many of `tokens` all rows of a pack begin with, before anything is scored."""
    _, end, last = packed.segments()[0]
    end = end if last == len(packed) else 0
    scored = np.append(packed.labels[:end] != UNSCORED, True)
    return min(int(scored.argmax()), _agreeing(tokens, packed.input_ids[:end]), len(packed) - 1)


def without(packed: Packed, n: int) -> Packed:
    """A pack less its first n positions, which all of its rows have in common."""
    cut = {k: getattr(packed, k)[n:] for k in ("input_ids", "position_ids", "labels")}
    return replace(
        packed, **cut, subtree_end=packed.subtree_end[n:] - n, sources=packed.sources - n
    )


class StepPrefix:
    """Keys and values of `tokens` (n,) under the weights of one optimizer step.

    `train=False` keeps no graph: for old and reference log-probabilities.
    """

    def __init__(
        self,
        tokens: Ints,
        model: Any,
        kind: AttentionKind,
        autocast: AbstractContextManager[Any],
        train: bool,
    ) -> None:
        core = base_model(model)
        device = core.device
        self.tokens, self.train = tokens, train
        self.leaves: dict[int, list[Tensor]] = {}  # by layer: keys and values, (1, h, n, d)
        row = TokenRow(0, tokens, np.full(len(tokens), UNSCORED), np.empty(0, np.int64))
        self._attention = kind(pack([row]), device)
        with autocast:
            self.hidden: Tensor = core.get_decoder()(
                input_ids=on_device(tokens, device)[None],
                position_ids=torch.arange(len(tokens), device=device)[None],
                attention_mask=no_mask(device),
                use_cache=False,
                shared_prefix=self._record,
            ).last_hidden_state

    def _record(
        self, module: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float
    ) -> Tensor:
        layer = module.layer_idx
        if layer not in self.leaves:  # not again when a checkpointed layer is recomputed
            # Gradients of many micro-batches are summed: in float32, whatever the model is in.
            wide = torch.promote_types(key.dtype, torch.float32) if self.train else key.dtype
            self.leaves[layer] = [
                x.detach().to(wide).requires_grad_(self.train) for x in (key, value)
            ]
        if self.train:
            key, value = _Inject.apply(key, value, self.leaves[layer])
        return self._attention(module, query, key, value, scaling)

    def above(self, n: int, own: AttentionFunction) -> AttentionFunction:
        """Attention to the first n tokens, and to what `own` lets a position see of its own pack.

        Fewer than all are a slice, as no token sees a later one.
        """

        def attention(
            module: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float
        ) -> Tensor:
            leaves = self.leaves[module.layer_idx]
            key, value = (
                torch.cat([leaf[:, :, :n].to(x.dtype), x], dim=2)
                for leaf, x in zip(leaves, (key, value), strict=True)
            )
            return own(module, query, key, value, scaling)

        return attention

    def backward(self) -> None:
        """Pass on what micro-batches have collected. It is scaled already, as their losses were."""
        if any(leaf.grad is not None for pair in self.leaves.values() for leaf in pair):
            self.hidden.backward(torch.zeros_like(self.hidden))


class _Inject(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, key: Tensor, value: Tensor, leaves: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        ctx.leaves = leaves
        return key.view_as(key), value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        collected = (leaf.grad for leaf in ctx.leaves)
        key, value = (
            grad if more is None else (grad + more).to(grad.dtype)
            for grad, more in zip(grads, collected, strict=True)
        )
        return key, value, None
