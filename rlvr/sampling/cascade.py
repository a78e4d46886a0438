"""Decoding with one copy of every shared key: prefix, question and own tokens as three blocks.

What all prompts share is kept once, what the rows of one prompt share is kept once per prompt, and
each row has its own generated tokens. The blocks are merged by their log-sum-exp.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rlvr.prefix.attention import block_attention, merge
from rlvr.sampling.prefill import Pair, side_by_side


@dataclass(frozen=True)
class Prompts:
    """Keys and values of J prompts with a common prefix of P tokens, for each layer.

    Either length may be 0: that of the prefix without one, that of the questions for one prompt.
    """

    prefix: dict[int, Pair]  # (1, h, P, d)
    questions: dict[int, Pair]  # (J, h, Q, d), right-padded
    padding: Tensor  # (J, 1, 1, Q) additive: -inf beyond a question's end

    @classmethod
    def cut(cls, layers: dict[int, Pair], paths: list[Tensor], shared: int) -> "Prompts":
        """From a packed row, of which prompt j occupies the positions `paths[j]`."""
        key = next(iter(layers.values()))[0]
        at, padding = side_by_side([path[shared:] for path in paths], key)
        common = paths[0][:shared].to(key.device)

        def split(x: Tensor) -> Pair:
            return x[:, :, common].contiguous(), x[0][:, at].transpose(0, 1).contiguous()

        halves = {i: (split(k), split(v)) for i, (k, v) in layers.items()}
        return cls(
            {i: (k[0], v[0]) for i, (k, v) in halves.items()},
            {i: (k[1], v[1]) for i, (k, v) in halves.items()},
            padding,
        )


class Own:
    """The generated tokens' keys and values of one layer, (b, h, t, d), grown by doubling."""

    def __init__(self) -> None:
        self.length = 0
        self.buffers: list[Tensor] = []

    def append(self, new: Pair) -> Pair:
        if not self.buffers:
            self.buffers = [x[:, :, :0] for x in new]
        if self.length == self.buffers[0].shape[2]:
            self.buffers = [_grown(buffer) for buffer in self.buffers]
        for buffer, x in zip(self.buffers, new, strict=True):
            buffer[:, :, self.length] = x[:, :, 0]
        self.length += 1
        key, value = (buffer[:, :, : self.length] for buffer in self.buffers)
        return key, value

    def keep(self, rows: Tensor) -> None:
        self.buffers = [buffer[rows] for buffer in self.buffers]


def _grown(x: Tensor) -> Tensor:
    b, h, length, d = x.shape
    return torch.cat([x, x.new_empty(b, h, max(16, length), d)], dim=2)


class Cascade:
    """The attention of one decoding step for b live rows; `groups` (b) names each row's prompt."""

    def __init__(self, prompts: Prompts, groups: Sequence[int]) -> None:
        self.prompts = prompts
        self.own = {layer: Own() for layer in prompts.prefix}
        self._seat(groups)

    def _seat(self, groups: Sequence[int]) -> None:
        """Rows as a table (J, seats), so that the rows of a prompt meet its keys in one block."""
        taken = [0] * len(self.prompts.padding)
        seat = []  # (b) place among its group
        for group in groups:
            seat.append(taken[group])
            taken[group] += 1
        self.groups, self.seats, device = groups, max(taken), self.prompts.padding.device
        self.at = torch.tensor(groups, device=device), torch.tensor(seat, device=device)

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these."""
        at = torch.tensor(rows, device=self.prompts.padding.device)
        for own in self.own.values():
            own.keep(at)
        self._seat([self.groups[row] for row in rows])

    def __call__(
        self, module: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float
    ) -> Tensor:
        b, heads, _, d = query.shape
        h, layer = key.shape[1], module.layer_idx
        q = query.reshape(b, h, heads // h, d)  # heads that share keys lie side by side
        out, lse = attend(q, *self.own[layer].append((key, value)), scaling)
        if self.prompts.prefix[layer][0].shape[2]:
            out, lse = merge(out.float(), lse, *self._prefix(q, layer, scaling))
        if self.prompts.padding.shape[3]:
            out, lse = merge(out.float(), lse, *self._question(q, layer, scaling))
        return out.to(query.dtype).reshape(b, 1, heads, value.shape[-1])

    def _prefix(self, q: Tensor, layer: int, scaling: float) -> Pair:
        b, h, g, d = q.shape
        folded = q.transpose(0, 1).reshape(1, h, b * g, d)
        out, lse = attend(folded, *self.prompts.prefix[layer], scaling)
        return out.view(h, b, g, -1).transpose(0, 1), lse.view(h, b, g).transpose(0, 1)

    def _question(self, q: Tensor, layer: int, scaling: float) -> Pair:
        _, h, g, d = q.shape
        table = q.new_zeros(len(self.prompts.padding), self.seats, h, g, d)
        table[self.at] = q
        folded = table.transpose(1, 2).reshape(len(table), h, self.seats * g, d)
        key, value = self.prompts.questions[layer]
        out, lse = attend(folded, key, value, scaling, self.prompts.padding)
        out = out.view(len(table), h, self.seats, g, -1).transpose(1, 2)[self.at]
        return out, lse.view(len(table), h, self.seats, g).transpose(1, 2)[self.at]


def attend(
    query: Tensor, key: Tensor, value: Tensor, scaling: float, mask: Tensor | None = None
) -> Pair:
    """Unmasked attention, or with an additive mask: output (b, h, n, d), log-sum-exp (b, h, n)."""
    if query.device.type == "cpu" and query.shape[-1] == value.shape[-1]:
        return block_attention(query, key, value, scaling, mask=mask)
    scores = query.float() @ key.float().transpose(-1, -2) * scaling
    if mask is not None:
        scores = scores + mask
    lse = scores.logsumexp(-1)
    return torch.exp(scores - lse.unsqueeze(-1)) @ value.float(), lse
