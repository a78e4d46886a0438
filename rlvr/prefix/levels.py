"""Attention over a packed trie by FlashAttention's kernel for sequences of many lengths.

The blocks are those of `TreeBlocks`: each segment of the trie with itself, and with everything
below it. Blocks at one depth of the tree have no position in common, so they are the sequences of
one call, and a pack takes one call for its segments and one for each level of branches. Calls are
merged by their log-sum-exp; the backward pass feeds each of them the merged output. The public
`varlen_attn` has no gradient through its log-sum-exp, so the pass is written here.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlvr.prefix.attention import DenseMask, merge
from rlvr.prefix.trie import Packed, on_device

log = logging.getLogger(__name__)

HALF = (torch.float16, torch.bfloat16)
WIDEST, MULTIPLE = 256, 8  # of the kernel's heads
Spans = list[tuple[int, int]]
At = Tensor | slice


@dataclass(frozen=True)
class Call:
    """Blocks for one call of the kernel: S sequences of queries, each with its keys."""

    queries: At
    keys: At
    ends_q: Tensor  # (S + 1,) int32, from zero
    ends_k: Tensor
    longest_q: int
    longest_k: int
    causal: bool

    @property
    def window(self) -> tuple[int, int]:
        return (-1, 0 if self.causal else -1)


def calls_of(packed: Packed, device: torch.device, above: int = 0) -> list[Call]:
    """The first call covers every query. `above` keys come first, which all queries see."""
    segments, n = packed.segments(), len(packed)
    own = [(a, b) for a, b, _ in segments]
    calls = [_call(own, own, device, slice(0, n), slice(above, above + n), causal=True)]
    if above:
        calls.append(_call([(0, n)], [(0, above)], device, slice(0, n), slice(0, above)))
    for level in _levels(segments):
        queries, keys = [(b, c) for _, b, c in level], [(above + a, above + b) for a, b, _ in level]
        calls.append(_call(queries, keys, device))
    return calls


def _levels(segments: Sequence[tuple[int, int, int]]) -> list[list[tuple[int, int, int]]]:
    """Segments that have something below them, by their depth in the tree of segments."""
    levels: dict[int, list[tuple[int, int, int]]] = {}
    ends: list[int] = []  # of the segments above
    for start, end, last in segments:
        while ends and start >= ends[-1]:
            ends.pop()
        if last > end:
            levels.setdefault(len(ends), []).append((start, end, last))
        ends.append(last)
    return [levels[depth] for depth in sorted(levels)]


def _call(
    queries: Spans,
    keys: Spans,
    device: torch.device,
    q: slice | None = None,
    k: slice | None = None,
    causal: bool = False,
) -> Call:
    """`q` and `k` where the spans are one slice, of which no copy is needed."""
    at = [_positions(queries) if q is None else None, _positions(keys) if k is None else None]
    lengths = [[b - a for a, b in spans] for spans in (queries, keys)]
    parts = [*(x for x in at if x is not None), *(np.cumsum([0, *x]) for x in lengths)]
    moved = on_device(np.concatenate(parts), device).split([len(x) for x in parts])
    *found, ends_q, ends_k = moved
    indices = iter(found)
    return Call(
        q or next(indices),
        k or next(indices),
        ends_q.to(torch.int32),
        ends_k.to(torch.int32),
        max(lengths[0]),
        max(lengths[1]),
        causal,
    )


def _positions(spans: Spans) -> Any:
    return np.concatenate([np.arange(a, b) for a, b in spans])


class VarlenLevels:
    """A trie's attention on a GPU, for 16-bit numbers."""

    def __init__(self, packed: Packed, device: torch.device, above: int = 0) -> None:
        self.calls = calls_of(packed, device, above)
        self.pack = (packed, device, above)

    def __call__(
        self, module: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float
    ) -> Tensor:
        in_float32 = query.dtype == torch.float32 and not torch.is_grad_enabled()
        if not in_float32:
            _refuse(query, value)
        q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
        if in_float32:  # as in the comparison with the plain path, which the kernel cannot do
            return _merged(q, k, v, self.calls, scaling, _in_products)[0].unsqueeze(0)
        dense = partial(self._dense, module, scaling)
        out: Tensor = _Levels.apply(q, k, v, self.calls, scaling, dense)
        return out.unsqueeze(0)

    def _dense(
        self, module: Any, scaling: float, query: Tensor, key: Tensor, value: Tensor
    ) -> Tensor:
        return DenseMask(*self.pack)(module, query, key, value, scaling)

    def forget(self) -> None: ...


def _refuse(query: Tensor, value: Tensor) -> None:
    wide = query.shape[-1]
    if query.dtype not in HALF:
        raise TypeError(f"flash attention takes 16-bit numbers, not {query.dtype}")
    if wide != value.shape[-1]:
        raise ValueError(f"heads of {wide} numbers with values of {value.shape[-1]}")
    if wide > WIDEST or wide % MULTIPLE:
        raise ValueError(f"flash attention takes no heads of {wide} numbers")


def _kernel(
    query: Tensor, key: Tensor, value: Tensor, call: Call, scaling: float
) -> tuple[Tensor, Tensor]:
    """Queries (n, H, d), keys and values (m, h, d) -> output (n, H, d), log-sum-exp (H, n)."""
    from torch.nn.attention.varlen import AuxRequest, varlen_attn

    out, lse = varlen_attn(
        query,
        key,
        value,
        call.ends_q,
        call.ends_k,
        call.longest_q,
        call.longest_k,
        return_aux=AuxRequest(lse=True),
        scale=scaling,
        window_size=call.window,
        enable_gqa=True,
    )
    return out, lse


def _in_products(
    query: Tensor, key: Tensor, value: Tensor, call: Call, scaling: float
) -> tuple[Tensor, Tensor]:
    """The same, sequence by sequence in plain operations of any precision."""
    key, value = (x.repeat_interleave(query.shape[1] // x.shape[1], 1) for x in (key, value))
    parts = []
    for q, k, v in _sequences(query, key, value, call):
        scores = torch.einsum("qhd,khd->hqk", q, k) * scaling
        if call.causal:
            later = torch.ones_like(scores[0], dtype=torch.bool).triu(1)
            scores = scores.masked_fill(later, float("-inf"))
        parts.append((torch.einsum("hqk,khd->qhd", scores.softmax(-1), v), scores.logsumexp(-1)))
    outs, lses = zip(*parts, strict=True)
    return torch.cat(outs), torch.cat(lses, dim=1)


def _sequences(query: Tensor, key: Tensor, value: Tensor, call: Call) -> Iterator[Any]:
    n, m = (ends.diff().tolist() for ends in (call.ends_q, call.ends_k))
    return zip(query.split(n), key.split(m), value.split(m), strict=True)


def _take(x: Tensor, at: At, dim: int = 0) -> Tensor:
    if isinstance(at, Tensor):
        return x.index_select(dim, at)
    return x.narrow(dim, at.start, at.stop - at.start)


def _merged(
    query: Tensor, key: Tensor, value: Tensor, calls: list[Call], scaling: float, kernel: Any
) -> tuple[Tensor, Tensor]:
    """Over all calls, in float32: output (N, H, d), log-sum-exp (H, N)."""
    out: Tensor
    lse: Tensor
    for i, call in enumerate(calls):
        q, k, v = _take(query, call.queries), _take(key, call.keys), _take(value, call.keys)
        new, new_lse = kernel(q, k, v, call, scaling)
        if i == 0:
            out, lse = new.transpose(0, 1).float(), new_lse
            continue
        here = (_take(out, call.queries, 1), _take(lse, call.queries, 1))
        both, total = merge(*here, new.transpose(0, 1).float(), new_lse)
        if isinstance(call.queries, slice):
            out, lse = both, total
        else:
            out, lse = (x.index_copy(1, call.queries, y) for x, y in ((out, both), (lse, total)))
    return out.transpose(0, 1).to(query.dtype), lse


class _Levels(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,  # (N, H, d)
        key: Tensor,  # (above + N, h, d)
        value: Tensor,
        calls: list[Call],
        scaling: float,
        dense: Any,  # the same attention, in operations that have a gradient
    ) -> Tensor:
        out, lse = _merged(query, key, value, calls, scaling, _kernel)
        ctx.save_for_backward(query, key, value, out, lse)
        ctx.calls, ctx.scaling, ctx.dense = calls, scaling, dense
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        query, key, value, out, lse = ctx.saved_tensors
        try:
            found = _gradients(grad, query, key, value, out, lse, ctx.calls, ctx.scaling)
        # Whatever a kernel raises, there is another one, and the run need not end.
        except Exception as error:
            log.warning("varlen attention has failed backward, a mask is used: %s", error)
            found = _gradients_of(ctx.dense, grad, query, key, value)
        return *found, None, None, None


def _gradients(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    lse: Tensor,
    calls: list[Call],
    scaling: float,
) -> tuple[Tensor, ...]:
    totals = [torch.zeros_like(x, dtype=torch.float32) for x in (query, key, value)]
    no_dropout = torch.zeros(2, dtype=torch.uint64, device=query.device)
    for call in calls:
        q, k, v = _take(query, call.queries), _take(key, call.keys), _take(value, call.keys)
        parts = torch.ops.aten._flash_attention_backward(
            _take(grad, call.queries).contiguous(),
            *(q, k, v),
            _take(out, call.queries).contiguous(),
            _take(lse, call.queries, 1).contiguous(),
            *(call.ends_q, call.ends_k, call.longest_q, call.longest_k),
            *(0.0, call.causal, no_dropout, no_dropout),
            scale=scaling,
            window_size_left=call.window[0],
            window_size_right=call.window[1],
        )
        places = (call.queries, call.keys, call.keys)
        for total, at, part in zip(totals, places, parts, strict=True):
            if isinstance(at, Tensor):
                total.index_add_(0, at, part.float())
            else:
                total[at] += part
    return tuple(x.to(query.dtype) for x in totals)


def _gradients_of(attend: Any, grad: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
    leaves = [x.detach().requires_grad_() for x in tensors]
    with torch.enable_grad():
        out = attend(*(x.transpose(0, 1)[None] for x in leaves))
        return torch.autograd.grad(out[0], leaves, grad)
