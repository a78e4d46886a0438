"""sdpa with the kernels that a GPU has for it: without them torch writes it out in plain ones."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional

from pretended_cuda.device import is_cuda
from pretended_cuda.kernels import FLASH, MATH, fused_choice

aten = torch.ops.aten
ALIGNED = 8  # columns of a mask


@contextmanager
def fused_attention() -> Iterator[None]:
    name = "scaled_dot_product_attention"
    with mock.patch.object(functional, name, _attention):
        yield


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    own: Callable[..., Tensor] = functional.scaled_dot_product_attention,
) -> Tensor:
    options: dict[str, Any] = {"scale": scale, "enable_gqa": enable_gqa}
    given = (query, key, value, attn_mask, dropout_p, is_causal)
    choice = fused_choice(*given, **options)
    if choice == MATH or not is_cuda(query):
        return own(*given, **options)
    if choice == FLASH:
        out = aten._scaled_dot_product_flash_attention(
            query, key, value, dropout_p, is_causal, scale=scale
        )
    else:
        mask = attn_mask if attn_mask is None else _additive(query, attn_mask, key.shape[2])
        out = aten._scaled_dot_product_efficient_attention(
            query, key, value, mask, False, dropout_p, is_causal, scale=scale
        )
    return out[0]  # type: ignore[no-any-return]


def _additive(query: Tensor, mask: Tensor, keys: int) -> Tensor:
    """As torch prepares it: numbers instead of booleans, columns padded, one a head."""
    if mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=query.dtype).masked_fill_(~mask, float("-inf"))
    if keys % ALIGNED:
        mask = functional.pad(mask, (0, -keys % ALIGNED))[..., :keys]
    return mask.expand(*query.shape[:3], keys)
