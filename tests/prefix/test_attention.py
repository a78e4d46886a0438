"""Each attention against a plain softmax over every position's ancestors."""

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from rlvr.prefix import attention
from rlvr.prefix.attention import DenseMask, TreeBlocks, choose
from rlvr.prefix.flex import FlexMask
from rlvr.prefix.trie import UNSCORED, Packed, TokenRow, pack

CPU = torch.device("cpu")
MODULE = SimpleNamespace(num_key_value_groups=2, is_causal=True, training=False)


@pytest.fixture(scope="module", params=[0, 1, 8])
def packed(request: Any, harness: Any) -> Packed:
    rows = []
    for index, (prompt, completion) in enumerate(harness.few_shot(request.param)):
        ids = np.array(prompt + completion)
        labels = np.where(np.arange(1, len(ids)) >= len(prompt), ids[1:], UNSCORED)
        rows.append(TokenRow(index, ids[:-1], labels, np.arange(len(completion))))
    return pack(rows)


def inputs(packed: Packed, dtype: torch.dtype) -> list[Tensor]:
    """Queries of 4 heads, keys and values of 2, in the models' layout: (1, N, H, d) transposed."""
    torch.manual_seed(0)
    return [
        torch.randn(1, len(packed), heads, 16, dtype=dtype).transpose(1, 2).requires_grad_()
        for heads in (4, 2, 2)
    ]


def plain(packed: Packed, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    at, end = torch.arange(len(packed)), torch.from_numpy(packed.subtree_end)
    mask = (at <= at[:, None]) & (at[:, None] < end)
    k, v = k.repeat_interleave(2, 1), v.repeat_interleave(2, 1)
    scores = (q @ k.transpose(-1, -2) * 0.3).masked_fill(~mask, float("-inf"))
    return (scores.softmax(-1) @ v).transpose(1, 2)


@pytest.mark.parametrize("kind", [DenseMask, TreeBlocks])
def test_output_and_gradients(packed: Packed, kind: Any) -> None:
    results = []
    for ours in (kind(packed, CPU), None):
        tensors = inputs(packed, torch.float64)
        out = plain(packed, *tensors) if ours is None else ours(MODULE, *tensors, scaling=0.3)
        out.square().sum().backward()
        results.append([out, *(x.grad for x in tensors)])
    for ours, reference in zip(*results, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-10, atol=1e-10)


def test_a_layer_that_is_recomputed_does_not_attend_again(
    packed: Packed, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    kernel = attention.block_attention
    monkeypatch.setattr(attention, "block_attention", lambda *a: calls.append(0) or kernel(*a))
    results, counts = [], []
    for checkpointed in (False, True):
        ours = TreeBlocks(packed, CPU)
        run = partial(ours, MODULE, scaling=0.3)
        tensors = inputs(packed, torch.float32)
        again = partial(checkpoint, run, use_reentrant=False) if checkpointed else run
        out = again(*tensors)
        assert len(ours.kept) == 1
        out.square().sum().backward()
        assert len(ours.kept) == (0 if checkpointed else 1)
        results.append([out, *(x.grad for x in tensors)])
        counts.append(len(calls))
    assert counts[1] == 2 * counts[0]
    for once, twice in zip(*results, strict=True):
        assert torch.equal(once, twice)


def test_nothing_is_kept_without_a_gradient_or_when_told_to_forget(packed: Packed) -> None:
    ours = TreeBlocks(packed, CPU)
    with torch.no_grad():
        ours(MODULE, *inputs(packed, torch.float32), scaling=0.3)
    assert not ours.kept
    ours(MODULE, *inputs(packed, torch.float32), scaling=0.3)
    ours.forget()
    assert not ours.kept


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_small_blocks_have_the_gradients_of_the_kernel(
    packed: Packed, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for small in (10**9, 0):
        monkeypatch.setattr(attention, "SMALL", small)
        tensors = inputs(packed, dtype)
        TreeBlocks(packed, CPU)(MODULE, *tensors, scaling=0.3).square().sum().backward()
        found.append([x.grad for x in tensors])
    off = 1e-12 if dtype is torch.float64 else 4e-2
    for products, kernel in zip(*found, strict=True):
        scale = kernel.abs().max().item()
        torch.testing.assert_close(products, kernel, rtol=off, atol=off * scale)


def test_flex_mask_output(packed: Packed) -> None:
    """The GPU's path, evaluated without its kernel (flex_attention has no backward on a CPU)."""
    from torch.nn.attention.flex_attention import flex_attention

    query, key, value = (x.detach() for x in inputs(packed, torch.float32))
    mask = FlexMask(packed, CPU).mask
    out = flex_attention(query, key, value, block_mask=mask, scale=0.3, enable_gqa=True)
    reference = plain(packed, query, key, value)
    torch.testing.assert_close(out.transpose(1, 2), reference, rtol=1e-5, atol=1e-5)


def test_half_precision_is_as_close_as_its_rounding(packed: Packed) -> None:
    tensors = inputs(packed, torch.bfloat16)
    out = TreeBlocks(packed, CPU)(MODULE, *tensors, scaling=0.3)
    assert out.dtype == torch.bfloat16
    reference = plain(packed, *(x.double() for x in tensors))
    torch.testing.assert_close(out.double(), reference, rtol=2e-2, atol=2e-2)


def test_sampling_takes_the_kernel_of_the_device() -> None:
    assert choose("auto", CPU) is TreeBlocks
    assert choose("dense", CPU) is DenseMask
    assert choose("auto", torch.device("cuda", 0)) is DenseMask
