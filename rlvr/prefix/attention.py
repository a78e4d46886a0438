"""Attention over a packed trie: exact ways to let each position see its own ancestors only.

`DenseMask` gives stock `sdpa` an (N, N) mask. `TreeBlocks` needs no mask: in pre-order all
descendants of a segment are contiguous, so a segment is one causal block with itself and one
unmasked block with everything below it; blocks are merged by their log-sum-exp, and the backward
pass feeds each block the merged output, as ring attention does. What a GPU has beside them is in
`rlvr.prefix.levels` and `rlvr.prefix.flex`.
"""

from collections.abc import Callable
from functools import cache, partial, wraps
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from rlvr.errors import UserError
from rlvr.prefix.trie import Packed, on_device

Block = tuple[slice, slice, bool]  # queries, keys, whether causal
SMALL = 100_000  # queries times keys of a block

# transformers hands a 4-D mask to the attention function as it is, instead of building one.
NO_MASK = torch.ones(1, 1, 1, 1, dtype=torch.bool)


class AttentionFunction(Protocol):
    """What a forward pass may carry as `shared_prefix=`, in place of the model's own attention."""

    def __call__(
        self, module: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float
    ) -> Tensor:
        """(B, H, n, d) queries, (B, h, n, d) keys and values -> (B, n, H, d)."""
        ...


class PackAttention(AttentionFunction, Protocol):
    def forget(self) -> None:
        """Drop what is kept for the time when layers are recomputed."""


class AttentionKind(Protocol):
    """An attention for a pack of N positions, whose keys are those of `above` tokens that all of
    them see, and then their own."""

    def __call__(self, packed: Packed, device: torch.device, above: int = 0) -> PackAttention: ...


class UnshareableError(UserError):
    """A model whose attention is more than the function that we replace; `reason` says what."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"sharing prefixes is not exact with {reason}: set trainer.shared_prefix=off "
            "trainer.prefix_cache=false, and please report the model"
        )
        self.reason = reason


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
        _refuse_what_we_would_drop(attention_mask, kwargs)
        scaling = kwargs.get("scaling") or query.shape[-1] ** -0.5
        q, k, v = _same_dtype(query, key, value)
        return shared_prefix(module, q, k, v, scaling), None

    attention.takes_shared_prefix = True  # type: ignore[attr-defined]
    return attention


# What models pass to every attention function and none of them reads, and what we heed.
HEEDED = {"scaling", "position_ids", "cache_position", "use_cache", "is_causal"}


def _refuse_what_we_would_drop(mask: Any, kwargs: dict[str, Any]) -> None:
    if getattr(mask, "shape", None) != NO_MASK.shape or mask.dtype != torch.bool:
        raise UnshareableError("an attention mask of the model's own")
    if kwargs.get("is_causal") is False:
        raise UnshareableError("attention to later tokens (is_causal=False)")
    for name, value in kwargs.items():
        given = not (value is None or (isinstance(value, int | float) and not value))
        if given and name not in HEEDED:
            raise UnshareableError(f"an attention that is given `{name}`")


def choose(mode: str, device: torch.device) -> AttentionKind:
    """The attention for sampling: blocks where there is a kernel for them, unless told `dense`."""
    return TreeBlocks if mode != "dense" and device.type == "cpu" else DenseMask


@cache
def no_mask(device: torch.device) -> Tensor:
    """`NO_MASK`, copied to a device once."""
    return NO_MASK.to(device)


class DenseMask:
    """Stock sdpa with the trie as a mask; N x (above + N) booleans, any device."""

    def __init__(self, packed: Packed, device: torch.device, above: int = 0) -> None:
        at = torch.arange(len(packed), device=device)
        end = on_device(packed.subtree_end, device)
        own = (at <= at[:, None]) & (at[:, None] < end)
        prefix = own.new_ones(len(packed), above)
        self.mask = torch.cat([prefix, own], dim=1)[None, None]  # (1, 1, q, k)

    def __call__(
        self, module: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float
    ) -> Tensor:
        return sdpa_attention_forward(module, query, key, value, self.mask, scaling=scaling)[0]

    def forget(self) -> None: ...


class TreeBlocks:
    """Causal and unmasked blocks of the CPU's flash kernel, merged by log-sum-exp.

    What a layer's attention gave is kept with its log-sum-exp until the layer is called again: a
    layer that is checkpointed is recomputed without it. Only the recomputation calls a layer twice
    (`rlvr.prefix.probe` makes sure). What is kept is as large as what checkpointing keeps anyway.
    """

    def __init__(self, packed: Packed, device: torch.device, above: int = 0) -> None:
        self.kept: dict[int, tuple[Tensor, Tensor]] = {}  # by module
        self.dense = partial(DenseMask, packed, device, above)
        segments, n = packed.segments(), above
        own = [(slice(a, b), slice(n + a, n + b), True) for a, b, _ in segments]
        prefix = [(slice(0, len(packed)), slice(0, n), False)] if n else []
        below = [(slice(b, c), slice(n + a, n + b), False) for a, b, c in segments if c > b]
        self.blocks: list[Block] = [*own, *prefix, *below]

    def __call__(
        self, module: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float
    ) -> Tensor:
        if query.shape[-1] != value.shape[-1]:  # multi-head latent attention; not for the kernel
            return self.dense()(module, query, key, value, scaling)
        known = self.kept.pop(id(module), None)
        out, lse = _BlockAttention.apply(query, key, value, self.blocks, scaling, known)
        if known is None and out.requires_grad:
            self.kept[id(module)] = (out.detach(), lse)
        return out.transpose(1, 2)  # type: ignore[no-any-return]

    def forget(self) -> None:
        self.kept.clear()


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


class _BlockAttention(torch.autograd.Function):
    """Causal blocks first, which cover every query, then the unmasked ones."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,  # (1, H, N, d)
        key: Tensor,  # (1, h, above + N, d)
        value: Tensor,
        blocks: list[Block],
        scaling: float,
        known: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, Tensor]:
        out, lse = known or _attend(query, key, value, blocks, scaling)
        ctx.save_for_backward(query, key, value, out, lse)
        ctx.blocks, ctx.scaling = blocks, scaling
        ctx.mark_non_differentiable(lse)
        return out, lse

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Any) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        query, key, value, out, lse = ctx.saved_tensors
        totals = [torch.zeros_like(x, dtype=lse.dtype) for x in (query, key, value)]
        for q, k, causal in ctx.blocks:
            here = (query[:, :, q], key[:, :, k], value[:, :, k], out[:, :, q], lse[:, :, q])
            parts = _block_gradients(grad[:, :, q], *here, causal, ctx.scaling)
            for total, at, part in zip(totals, (q, k, k), parts, strict=True):
                total[:, :, at] += part
        dq, dk, dv = (x.to(query.dtype) for x in totals)
        return dq, dk, dv, None, None, None


def _attend(
    query: Tensor, key: Tensor, value: Tensor, blocks: list[Block], scaling: float
) -> tuple[Tensor, Tensor]:
    wide = torch.promote_types(query.dtype, torch.float32)
    out = torch.empty_like(query.transpose(1, 2), dtype=wide).transpose(1, 2)
    lse = torch.empty(query.shape[:3], dtype=wide)
    for q, k, causal in blocks:
        new = block_attention(query[:, :, q], key[:, :, k], value[:, :, k], scaling, causal)
        out[:, :, q], lse[:, :, q] = new if causal else merge(out[:, :, q], lse[:, :, q], *new)
    return out.to(query.dtype), lse


def _block_gradients(
    grad: Tensor,
    query: Tensor,  # (1, H, q, d)
    key: Tensor,  # (1, h, k, d)
    value: Tensor,
    out: Tensor,
    lse: Tensor,  # (1, H, q)
    causal: bool,
    scaling: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """The flash kernel's backward pass, which is four times slower than plain products where the
    block is small."""
    if query.shape[2] * key.shape[2] > SMALL:
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(  # type: ignore[no-any-return]
            grad, query, key, value, out, lse, 0.0, causal, scale=scaling
        )
    # Queries of the heads that share keys as one matrix: (h, H/h * q, d)
    (_, heads, n, d), wide = query.shape, lse.dtype
    g, q, o = (x.reshape(key.shape[1], -1, d) for x in (grad, query, out))
    k, v = key[0], value[0]
    p = torch.bmm(q, k.mT).to(wide).mul_(scaling).sub_(lse.reshape(len(k), -1, 1))
    if causal:
        later = torch.ones(n, n, dtype=torch.bool).triu(1)
        p.view(heads, n, n).masked_fill_(later, float("-inf"))
    p.exp_()
    shift = (o.to(wide) * g).sum(-1, keepdim=True)
    ds = torch.bmm(g, v.mT).to(wide).sub_(shift).mul_(p).mul_(scaling).to(q.dtype)
    dv = torch.bmm(p.to(q.dtype).mT, g)
    return torch.bmm(ds, k).view_as(query), torch.bmm(ds.mT, q)[None], dv[None]
