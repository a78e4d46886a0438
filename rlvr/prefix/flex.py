"""`flex_attention` with the trie as a block mask, of which empty blocks are skipped on a GPU.

Compiled for any length: a pack's differs each time, and each kernel takes a minute to compile.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlvr.prefix.trie import Packed, on_device


@cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`fullgraph`: where it would have to be compiled too often it fails, instead of falling back
    to the N x N scores of the function as it is written."""
    return torch.compile(function, dynamic=True, fullgraph=True)


class FlexMask:
    def __init__(self, packed: Packed, device: torch.device, above: int = 0) -> None:
        from torch.nn.attention.flex_attention import create_block_mask

        # Key k is seen from its own position up to the end of its subtree. Tensors, as numbers
        # would be compiled in.
        n = len(packed)
        first = on_device(np.append(np.zeros(above, np.int64), np.arange(n)), device)
        end = on_device(np.append(np.full(above, n), packed.subtree_end), device)

        def sees(batch: Tensor, head: Tensor, q: Tensor, k: Tensor) -> Tensor:
            return (first[k] <= q) & (q < end[k])

        self.compiles = device.type == "cuda"  # compiled, the mask is never held whole
        make: Callable[..., Any] = create_block_mask
        make = compiled(make) if self.compiles else make
        self.mask = make(sees, None, None, n, above + n, device=device)

    def __call__(
        self, module: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float
    ) -> Tensor:
        from torch.nn.attention.flex_attention import flex_attention

        shared = query.shape[1] // key.shape[1]
        if shared & (shared - 1):  # short packs take another kernel, that wants a power of two
            key, value = (x.repeat_interleave(shared, 1) for x in (key, value))
        attend: Callable[..., Any] = flex_attention
        attend = compiled(attend) if self.compiles else attend
        out: Tensor = attend(
            query, key, value, block_mask=self.mask, scale=scaling, enable_gqa=True
        )
        return out.transpose(1, 2)

    def forget(self) -> None: ...
