"""Kernels that exist on CUDA alone, in operations of the CPU, with the limits that they have there.

Tensors here are plain ones, on the CPU.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten
HALF = (torch.float16, torch.bfloat16)
MATH, FLASH, EFFICIENT = 0, 1, 2  # sdpa's backends
WIDEST_HEAD = 256
PINNED: dict[int, Tensor] = {}  # by address; kept, so that no other memory gets one of them


def fused_choice(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    dropout: float = 0.0,
    causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> int:
    """What sdpa would take, as far as our calls differ."""
    if mask is None and query.dtype in HALF and query.shape[-1] <= WIDEST_HEAD:
        return FLASH
    return MATH if enable_gqa else EFFICIENT


def flash(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout: float = 0.0,
    causal: bool = False,
    debug: bool = False,
    *,
    scale: float | None = None,
) -> tuple[Any, ...]:
    _refuse_what_flash_cannot(query)
    out, lse = aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, dropout, causal, scale=scale
    )
    seed = torch.zeros((), dtype=torch.int64)
    return out, lse, None, None, query.shape[2], key.shape[2], seed, seed, torch.empty(0)


def flash_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    lse: Tensor,
    cum_q: Any,
    cum_k: Any,
    longest_q: int,
    longest_k: int,
    dropout: float,
    causal: bool,
    *_: Any,
    scale: float | None = None,
) -> Any:
    return aten._scaled_dot_product_flash_attention_for_cpu_backward(
        grad, query, key, value, out, lse, dropout, causal, scale=scale
    )


def efficient(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    with_lse: bool,
    dropout: float = 0.0,
    causal: bool = False,
    *,
    scale: float | None = None,
) -> tuple[Any, ...]:
    if query.shape[1] != key.shape[1]:
        raise RuntimeError("efficient attention knows no grouped heads")
    out, lse = aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, dropout, causal, attn_mask=bias, scale=scale
    )
    seed = torch.zeros((), dtype=torch.int64)
    return out, lse, seed, seed


def efficient_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    out: Tensor,
    lse: Tensor,
    seed: Tensor,
    offset: Tensor,
    dropout: float,
    wanted: Any,
    causal: bool = False,
    *,
    scale: float | None = None,
) -> tuple[Any, ...]:
    gradients = aten._scaled_dot_product_flash_attention_for_cpu_backward(
        grad, query, key, value, out, lse, dropout, causal, attn_mask=bias, scale=scale
    )
    return *gradients, None


def addmm_out(
    added: Tensor,
    a: Tensor,
    b: Tensor,
    dtype: torch.dtype,
    *,
    beta: float = 1,
    alpha: float = 1,
    out: Tensor,
) -> Tensor:
    """Of TRL's head: 16 bits in, float32 out."""
    return out.copy_(beta * added.to(dtype) + alpha * (a.to(dtype) @ b.to(dtype)))


def _refuse_what_flash_cannot(query: Tensor) -> None:
    if query.dtype not in HALF:
        raise RuntimeError("FlashAttention only support fp16 and bf16 data type")
    if query.shape[-1] > WIDEST_HEAD:
        raise RuntimeError("FlashAttention forward only supports head dimension at most 256")


@contextmanager
def flash_on_cpu() -> Iterator[None]:
    """The kernels of `torch.nn.attention.varlen`, sequence by sequence, for tensors on the CPU."""
    library = torch.library.Library("aten", "IMPL")
    library.impl("_flash_attention_forward", _varlen, "CPU")
    library.impl("_flash_attention_backward", _varlen_backward, "CPU")
    try:
        yield
    finally:
        library._destroy()


def _varlen(
    query: Tensor,  # (n, H, d)
    key: Tensor,  # (m, h, d)
    value: Tensor,
    ends_q: Tensor,  # (S + 1,)
    ends_k: Tensor,
    longest_q: int,
    longest_k: int,
    dropout: float,
    causal: bool,
    debug: bool,
    *,
    scale: float | None = None,
    **_: Any,
) -> tuple[Tensor, ...]:
    out, lse = torch.empty_like(query), query.new_empty(query.shape[1::-1], dtype=torch.float32)
    for q, k in _spans(ends_q, ends_k, longest_q, longest_k):
        here, there = aten._scaled_dot_product_flash_attention_for_cpu(
            *_as_batch(query[q], key[k], value[k]), dropout, causal, scale=scale
        )
        out[q], lse[:, q] = here[0].transpose(0, 1), there[0]
    return out, lse, torch.zeros(2, dtype=torch.uint64), torch.empty(0), torch.empty(0)


def _varlen_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    lse: Tensor,
    ends_q: Tensor,
    ends_k: Tensor,
    longest_q: int,
    longest_k: int,
    dropout: float,
    causal: bool,
    *_: Any,
    scale: float | None = None,
    **__: Any,
) -> tuple[Tensor, ...]:
    found = tuple(torch.zeros_like(x) for x in (query, key, value))
    for q, k in _spans(ends_q, ends_k, longest_q, longest_k):
        parts = aten._scaled_dot_product_flash_attention_for_cpu_backward(
            *_as_batch(grad[q], query[q], key[k], value[k], out[q]),
            lse[None, :, q],
            *(dropout, causal),
            scale=scale,
        )
        for total, at, part in zip(found, (q, k, k), parts, strict=True):
            total[at] = part[0].transpose(0, 1)
    return found


def _spans(
    ends_q: Tensor, ends_k: Tensor, longest_q: int, longest_k: int
) -> Iterator[tuple[slice, slice]]:
    assert ends_q.dtype == ends_k.dtype == torch.int32
    assert ends_q.diff().max() == longest_q
    assert ends_k.diff().max() == longest_k
    pairs = zip(pairwise(ends_q.tolist()), pairwise(ends_k.tolist()), strict=True)
    return ((slice(*q), slice(*k)) for q, k in pairs)


def _as_batch(*tensors: Tensor) -> list[Tensor]:
    return [x.transpose(0, 1)[None] for x in tensors]


EMULATED = {
    aten.is_pinned.default: lambda x, device=None: x.untyped_storage().data_ptr() in PINNED,
    aten._pin_memory.default: lambda x, device=None: x.clone(),
    aten._fused_sdp_choice.default: fused_choice,
    aten._scaled_dot_product_flash_attention.default: flash,
    aten._scaled_dot_product_flash_attention_backward.default: flash_backward,
    aten._scaled_dot_product_efficient_attention.default: efficient,
    aten._scaled_dot_product_efficient_attention_backward.default: efficient_backward,
    aten.addmm.dtype_out: addmm_out,
    aten.mm.dtype: lambda a, b, dtype: a.to(dtype) @ b.to(dtype),
    aten.mm.dtype_out: lambda a, b, dtype, *, out: out.copy_(a.to(dtype) @ b.to(dtype)),
}
