"""The pretended device has a GPU's rules, and its numbers are those of the CPU."""

import pytest
import torch

from pretended_cuda.device import CudaTensor


def test_values_and_gradients_are_those_of_the_cpu(cuda):
    torch.manual_seed(0)
    layer, x = torch.nn.Linear(5, 3), torch.randn(4, 5)
    layer(x).square().sum().backward()
    expected = layer.weight.grad
    layer.weight.grad = None
    layer.to("cuda")(x.to("cuda")).square().sum().backward()
    assert isinstance(layer.weight.grad, CudaTensor)
    assert torch.equal(layer.weight.grad.cpu(), expected)


def test_operands_on_two_devices_are_an_error(cuda):
    x = torch.ones(3, device="cuda")
    with pytest.raises(RuntimeError, match="same device"):
        x + torch.ones(3)
    assert (x + torch.tensor(1.0)).tolist() == [2.0] * 3  # a number may be on the CPU


def test_what_the_host_waits_for(cuda):
    x = torch.arange(4.0, device="cuda")
    waited = {
        "_local_scalar_dense": lambda: x[0].item(),
        "tolist": x.tolist,
        "to the host": x.cpu,
        "aten.nonzero": x.nonzero,
        "of a mask": lambda: x[x > 1],
        "synchronize": torch.cuda.synchronize,
    }
    for name, ask in waited.items():
        cuda.clear()
        ask()
        assert [what for what, _ in cuda.waits if name in what], (name, cuda.waits)
        assert cuda.waits.total() == 1, cuda.waits


def test_copies_from_pageable_memory(cuda):
    rows = torch.arange(4, device="cuda")
    assert not cuda.copies
    moved = torch.tensor([1, 2]).to("cuda")
    assert cuda.copies.total() == 1
    assert rows[torch.tensor([1, 2])].tolist() == moved.tolist()
    assert any("hidden" in what for what, _ in cuda.copies)
    cuda.clear()
    pinned = torch.ones(2, dtype=torch.long, pin_memory=True)
    moved.copy_(pinned, non_blocking=True)
    pinned.copy_(rows[2:], non_blocking=True)
    assert not cuda.copies
    assert not cuda.waits
    assert pinned.tolist() == [2, 3]


def test_kernels_are_counted_and_views_are_none(cuda):
    x = torch.ones(2, 3, device="cuda")
    cuda.clear()
    x.t().reshape(6).mul_(2)
    assert sum(cuda.kernels.values()) == 2  # the copy of reshape, and mul_
    assert x.tolist() == [[1.0] * 3] * 2


def test_a_line_of_the_package_is_named(cuda):
    from rlvr.prefix.trie import EMPTY, pack, tensors

    tensors(pack([EMPTY]), torch.device("cuda", 0))
    assert not cuda.ours(cuda.copies), "from pinned memory"
    ((what, line),) = cuda.ours(cuda.kernels)
    assert what == "aten._to_copy.default"
    assert line.startswith("rlvr/prefix/trie.py:")
