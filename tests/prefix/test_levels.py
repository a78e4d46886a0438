"""FlashAttention's calls by tree level, its kernel emulated in operations of the CPU."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pretended_cuda.kernels import flash_on_cpu

from rlvr.prefix import levels
from rlvr.prefix.attention import TreeBlocks
from rlvr.prefix.levels import VarlenLevels, calls_of
from rlvr.prefix.trie import UNSCORED, TokenRow, pack

CPU = torch.device("cpu")
MODULE = SimpleNamespace(num_key_value_groups=7, is_causal=True, training=False)
HEADS, SHARED, SIZE = 14, 2, 16


@pytest.fixture(scope="module", params=[0, 1, 8])
def packed(request, harness):
    rows = []
    for index, (prompt, completion) in enumerate(harness.few_shot(request.param)):
        ids = np.array(prompt + completion)
        labels = np.where(np.arange(1, len(ids)) >= len(prompt), ids[1:], UNSCORED)
        rows.append(TokenRow(index, ids[:-1], labels, np.arange(len(completion))))
    return pack(rows)


@pytest.fixture
def kernel(monkeypatch):
    """In float32, which the real one does not take."""
    monkeypatch.setattr(levels, "HALF", (torch.float32, torch.bfloat16))
    with flash_on_cpu():
        yield


def inputs(packed, above=0, dtype=torch.float32):
    torch.manual_seed(0)
    lengths = ((HEADS, 0), (SHARED, above), (SHARED, above))
    return [
        torch.randn(1, n + len(packed), heads, SIZE, dtype=dtype).transpose(1, 2).requires_grad_()
        for heads, n in lengths
    ]


def found(kind, packed, above, dtype=torch.float32):
    """Output and gradients."""
    tensors = inputs(packed, above, dtype)
    out = kind(packed, CPU, above)(MODULE, *tensors, scaling=0.3)
    (out * torch.linspace(-1, 1, SIZE)).sum().backward()
    return [out.detach(), *(x.grad for x in tensors)]


@pytest.mark.parametrize("above", [0, 5])
def test_values_and_gradients_are_those_of_the_cpus_blocks(packed, kernel, above):
    for ours, blocks in zip(
        found(VarlenLevels, packed, above), found(TreeBlocks, packed, above), strict=True
    ):
        torch.testing.assert_close(ours, blocks, rtol=1e-5, atol=2e-6)


def test_half_precision_is_as_close_as_its_rounding(packed, kernel):
    halves = found(VarlenLevels, packed, 5, torch.bfloat16)
    for half, whole in zip(halves, found(TreeBlocks, packed, 5), strict=True):
        assert half.dtype == torch.bfloat16
        assert (half.float() - whole).norm() < 2e-2 * whole.norm()


def test_one_call_for_the_segments_and_one_for_each_level(harness):
    """A prompt with two questions, of which one has two completions that begin alike."""
    texts = [[2, 3, 5, 7], [2, 3, 5, 8], [2, 3, 6]]
    packed = pack(
        [TokenRow(i, np.array(t), np.array(t), np.arange(1)) for i, t in enumerate(texts)]
    )
    own, first, second = calls_of(packed, CPU)
    assert own.causal
    assert own.ends_q.tolist() == [0, 2, 3, 4, 5, 6]
    assert not first.causal
    assert (first.queries.tolist(), first.keys.tolist()) == ([2, 3, 4, 5], [0, 1])
    assert (second.queries.tolist(), second.keys.tolist()) == ([3, 4], [2])
    above = calls_of(packed, CPU, above=9)
    assert [call.longest_k for call in above] == [2, 9, 2, 1]


def test_the_comparison_in_float32_takes_no_kernel(packed):
    with torch.no_grad():
        ours = VarlenLevels(packed, CPU, 5)(MODULE, *inputs(packed, 5), scaling=0.3)
    blocks = found(TreeBlocks, packed, 5)[0]
    torch.testing.assert_close(ours, blocks, rtol=1e-5, atol=2e-6)


def test_what_the_kernel_does_not_take_is_named(packed):
    with pytest.raises(TypeError, match=r"16-bit numbers, not torch\.float32"):
        VarlenLevels(packed, CPU)(MODULE, *inputs(packed), scaling=0.3)
    q, k, v = inputs(packed, dtype=torch.bfloat16)
    with pytest.raises(ValueError, match="heads of 12 numbers"):
        VarlenLevels(packed, CPU)(MODULE, *(x[..., :12] for x in (q, k, v)), scaling=0.3)
    with pytest.raises(ValueError, match="heads of 16 numbers with values of 8"):
        VarlenLevels(packed, CPU)(MODULE, q, k, v[..., :8], scaling=0.3)


def test_a_backward_pass_that_fails_is_made_with_a_mask(packed, kernel, monkeypatch, caplog):
    expected = found(VarlenLevels, packed, 5)

    def broken(*_):
        raise RuntimeError("CUDA error: invalid configuration argument")

    monkeypatch.setattr(levels, "_gradients", broken)
    for ours, usual in zip(found(VarlenLevels, packed, 5), expected, strict=True):
        torch.testing.assert_close(ours, usual, rtol=1e-5, atol=2e-6)
    assert "invalid configuration argument" in caplog.text
