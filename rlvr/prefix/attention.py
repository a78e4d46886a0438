"""Attention over a packed trie: three exact ways to let each position see its own ancestors only.

`DenseMask` gives stock `sdpa` an (N, N) mask. `TreeBlocks` needs no mask: in pre-order all
descendants of a segment are contiguous, so a segment is one causal block with itself and one
unmasked block with everything below it; blocks are merged by their log-sum-exp, and the backward
pass feeds each block the merged output, as ring attention does. `FlexMask` gives the rule to
`flex_attention`, which skips empty blocks on a GPU.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.flex_attention import flex_attention_forward
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from rlvr.prefix.trie import Packed

# transformers hands a 4-D mask to the attention function as it is, instead of building one.
NO_MASK = torch.ones(1, 1, 1, 1, dtype=torch.bool)


class AttentionFunction(Protocol):
    """What a forward pass may carry as `shared_prefix=`, in place of the model's own attention."""

    def __call__(
        self, module: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float
    ) -> Tensor:
        """(B, H, n, d) queries, (B, h, n, d) keys and values -> (B, n, H, d)."""
        ...


def install(model: PreTrainedModel) -> None:
    """Let calls that carry `shared_prefix=` use it; every other call keeps the same function.

    The model's own name for its attention stays, so gradient checkpointing may recompute a layer
    at any later time. Eager attention is not dispatched by name, so such a model is set to sdpa.
    """
    name = model.config._attn_implementation
    if name == "eager":
        model.set_attn_implementation(name := "sdpa")
    own = ALL_ATTENTION_FUNCTIONS[name]
    if not getattr(own, "takes_shared_prefix", False):
        AttentionInterface.register(name, _dispatch(own))


def _dispatch(own: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(own)
    def attention(
        module: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Any,
        shared_prefix: AttentionFunction | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        if shared_prefix is None:
            return own(module, query, key, value, attention_mask, **kwargs)  # type: ignore[no-any-return]
        scaling = kwargs.get("scaling") or query.shape[-1] ** -0.5
        q, k, v = _same_dtype(query, key, value)
        return shared_prefix(module, q, k, v, scaling), None

    attention.takes_shared_prefix = True  # type: ignore[attr-defined]
    return attention


def choose(mode: str, device: torch.device) -> Callable[[Packed, torch.device], AttentionFunction]:
    """The attention of `trainer.shared_prefix`: `auto` is `tree` where there is a kernel for it."""
    if mode != "dense" and device.type == "cpu":
        return TreeBlocks
    return FlexMask if mode != "dense" and device.type == "cuda" else DenseMask


class DenseMask:
    """Stock sdpa with the trie as a mask; N x N booleans, any device."""

    def __init__(self, packed: Packed, device: torch.device) -> None:
        at = torch.arange(len(packed), device=device)
        end = torch.from_numpy(packed.subtree_end).to(device)
        self.mask = ((at <= at[:, None]) & (at[:, None] < end))[None, None]  # (1, 1, q, k)

    def __call__(
        self, module: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float
    ) -> Tensor:
        return sdpa_attention_forward(module, query, key, value, self.mask, scaling=scaling)[0]


class FlexMask:
    """`flex_attention` with the trie as a block mask."""

    def __init__(self, packed: Packed, device: torch.device) -> None:
        from torch.nn.attention.flex_attention import create_block_mask

        end = torch.from_numpy(packed.subtree_end).to(device)

        def sees(batch: Tensor, head: Tensor, q: Tensor, k: Tensor) -> Tensor:
            return (k <= q) & (q < end[k])

        n = len(packed)
        # Compiled, the mask is never held whole.
        self.mask = create_block_mask(
            sees, None, None, n, n, device=device, _compile=device.type == "cuda"
        )

    def __call__(
        self, module: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float
    ) -> Tensor:
        return flex_attention_forward(module, query, key, value, self.mask, scaling=scaling)[0]


class TreeBlocks:
    """Causal and unmasked blocks of the CPU's flash kernel, merged by log-sum-exp."""

    def __init__(self, packed: Packed, device: torch.device) -> None:
        self.segments = packed.segments()

    def __call__(
        self, module: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float
    ) -> Tensor:
        out: Tensor = _TreeAttention.apply(query, key, value, self.segments, scaling)
        return out.transpose(1, 2)


def _same_dtype(*tensors: Tensor) -> tuple[Tensor, ...]:
    """sdpa casts under autocast; the functions called here do not."""
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return tensors
    return tuple(x.to(torch.get_autocast_dtype(device)) for x in tensors)


def merge(out: Tensor, lse: Tensor, more: Tensor, more_lse: Tensor) -> tuple[Tensor, Tensor]:
    """Attention over the union of two sets of keys: outputs (..., n, d), log-sum-exp (..., n)."""
    total = torch.logaddexp(lse, more_lse)
    old, new = torch.exp(lse - total).unsqueeze(-1), torch.exp(more_lse - total).unsqueeze(-1)
    return out * old + more * new, total


def block_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scaling: float,
    causal: bool = False,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The CPU's flash kernel, which knows grouped heads: output (B, H, n, d), lse (B, H, n)."""
    out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, 0.0, causal, attn_mask=mask, scale=scaling
    )
    return out, lse


class _TreeAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,  # (1, H, N, d)
        key: Tensor,  # (1, h, N, d)
        value: Tensor,
        segments: list[tuple[int, int, int]],
        scaling: float,
    ) -> Tensor:
        wide = torch.promote_types(query.dtype, torch.float32)
        out = torch.empty_like(query.transpose(1, 2), dtype=wide).transpose(1, 2)
        lse = torch.empty(query.shape[:3], dtype=wide)
        for start, end, _ in segments:
            own = slice(start, end)
            q, k, v = query[:, :, own], key[:, :, own], value[:, :, own]
            out[:, :, own], lse[:, :, own] = block_attention(q, k, v, scaling, causal=True)
        for start, end, last in segments:
            if last > end:
                above, below = slice(start, end), slice(end, last)
                k, v = key[:, :, above], value[:, :, above]
                more = block_attention(query[:, :, below], k, v, scaling)
                merged = merge(out[:, :, below], lse[:, :, below], *more)
                out[:, :, below], lse[:, :, below] = merged
        out = out.to(query.dtype)
        ctx.save_for_backward(query, key, value, out, lse)
        ctx.segments, ctx.scaling = segments, scaling
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        query, key, value, out, lse = ctx.saved_tensors
        wide = lse.dtype
        dq, dk, dv = (torch.zeros_like(x, dtype=wide) for x in (query, key, value))

        def add(q: slice, k: slice, causal: bool) -> None:
            here = (query[:, :, q], key[:, :, k], value[:, :, k], out[:, :, q], lse[:, :, q])
            parts = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
                grad[:, :, q], *here, 0.0, causal, scale=ctx.scaling
            )
            for total, at, part in zip((dq, dk, dv), (q, k, k), parts, strict=True):
                total[:, :, at] += part

        for start, end, last in ctx.segments:
            add(slice(start, end), slice(start, end), causal=True)
            if last > end:
                add(slice(end, last), slice(start, end), causal=False)
        return dq.to(query.dtype), dk.to(key.dtype), dv.to(value.dtype), None, None
