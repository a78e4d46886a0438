"""Decoding over keys and values that each row has for itself, in buffers of a known length.

One attention call a layer and the same shapes at every step: few kernels, and a step that a CUDA
graph can hold. What the rows share is copied to each of them: `fits` says whether there is room.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from rlvr.sampling.prefill import Pair, Prefilled, side_by_side

SHARE = 0.7  # of the free memory: the rest is for the logits and what a step makes on its way
ALIGNED = 16  # columns: with other widths CUDA's kernels copy the mask, in each layer


class Expanded:
    """The attention of one decoding step for b rows. Each step has its own slot, for all rows."""

    def __init__(self, prefilled: Prefilled, groups: Sequence[int], new_tokens: int) -> None:
        """`groups` (b) names each row's prompt. Takes the prompts' layers out of `prefilled`."""
        layers = prefilled.layers
        key = next(iter(layers.values()))[0]
        at, padding = side_by_side(prefilled.paths, key)
        rows = torch.tensor(groups, device=key.device)
        self.first = next(iter(layers))
        self.slot = torch.full((1,), at.shape[1] - 1, device=key.device)  # the last one in use
        length = _length(at.shape[1], new_tokens)
        self.mask = key.new_full((len(groups), 1, 1, length), float("-inf"))
        self.mask[..., : at.shape[1]] = padding[rows]
        self.layers: dict[int, Pair] = {}
        for layer in list(layers):
            keys, values = layers.pop(layer)
            self.layers[layer] = _copied(keys, at[rows], length), _copied(values, at[rows], length)

    def keep(self, rows: Tensor) -> None:
        """Drop all rows but these."""
        self.mask = self.mask[rows]
        for layer, (keys, values) in self.layers.items():
            self.layers[layer] = keys[rows], values[rows]

    def __call__(
        self, module: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float
    ) -> Tensor:
        if module.layer_idx == self.first:
            self.slot += 1
            self.mask.index_fill_(3, self.slot, 0.0)
        keys, values = self.layers[module.layer_idx]
        keys.index_copy_(2, self.slot, key)
        values.index_copy_(2, self.slot, value)
        b, heads, _, d = query.shape
        h = key.shape[1]
        # Heads that share keys become queries of one head: CUDA's fused kernels take either
        # grouped heads or a mask, not both.
        q = query.reshape(b, h, heads // h, d)
        out = functional.scaled_dot_product_attention(
            q, keys, values, attn_mask=self.mask, scale=scaling
        )
        return out.reshape(b, 1, heads, value.shape[-1])


def _length(width: int, new_tokens: int) -> int:
    return -(-(width + new_tokens) // ALIGNED) * ALIGNED


def _copied(packed: Tensor, at: Tensor, length: int) -> Tensor:
    """(1, h, N, d) packed -> (b, h, length, d), of which row i begins with the positions `at[i]`.

    Zeros follow: what is masked is still multiplied, and memory as it comes may hold NaN.
    """
    (_, h, _, d), (b, width) = packed.shape, at.shape
    room = packed.new_zeros(b, h, length, d)
    taken = packed[0].index_select(1, at.flatten()).view(h, b, width, d)
    room[:, :, :width] = taken.transpose(0, 1)
    return room


def fits(prefilled: Prefilled, rows: int, new_tokens: int) -> bool:
    """Whether the GPU has room for the keys and values of all rows."""
    tensors = [x for pair in prefilled.layers.values() for x in pair]
    a_position = sum(x.shape[1] * x.shape[3] * x.element_size() for x in tensors)
    length = _length(max(map(len, prefilled.paths)), new_tokens)
    return a_position * rows * length <= SHARE * _free_bytes(tensors[0].device)


def _free_bytes(device: torch.device) -> int:
    """What the driver has left and what torch's allocator keeps unused."""
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + unused
