"""An attention that fails gives way to the next, by name."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.checkpoint import checkpoint

from rlvr.errors import UserError
from rlvr.prefix.attention import DenseMask, TreeBlocks
from rlvr.prefix.kinds import Attentions, kinds
from rlvr.prefix.trie import TokenRow, pack

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
MODULES = [SimpleNamespace(num_key_value_groups=1, is_causal=True, training=True) for _ in range(3)]


@pytest.fixture
def packed():
    texts = ([2, 3, 5, 7, 11], [2, 3, 5, 8], [2, 3, 6])
    return pack([TokenRow(i, np.array(t), np.array(t), np.arange(1)) for i, t in enumerate(texts)])


class Fragile(TreeBlocks):
    """Fails forward after a number of layers, and goes on in those that are recomputed."""

    left = 0

    def __call__(self, module, *arguments):
        if id(module) not in self.kept:
            if not Fragile.left:
                raise torch.OutOfMemoryError("CUDA out of memory\nof a long story")
            Fragile.left -= 1
        return super().__call__(module, *arguments)


def in_layers(attention, packed):
    """Three layers, each of them checkpointed; output and gradient."""
    torch.manual_seed(0)
    x = start = torch.randn(1, 2, len(packed), 8, requires_grad=True)
    for module in MODULES:
        layer = partial(attention, module, scaling=0.3)
        x = checkpoint(lambda x, layer=layer: layer(x, x, x), x, use_reentrant=False)
        x = x.transpose(1, 2)
    x.square().sum().backward()
    return x.detach(), start.grad


@pytest.mark.parametrize("good", [0, 1, 2, 3])
def test_the_next_one_takes_over_where_one_fails(packed, good, caplog, monkeypatch):
    """Layers that had the first one are recomputed with it."""
    monkeypatch.setattr(Fragile, "left", good)
    attentions = Attentions({"fragile": Fragile, "dense": DenseMask})
    attention = attentions(packed, CPU)
    for ours, expected in zip(
        in_layers(attention, packed), in_layers(TreeBlocks(packed, CPU), packed), strict=True
    ):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
    failed = {} if good == 3 else {"fragile": "OutOfMemoryError: CUDA out of memory"}
    assert attentions.failed == failed
    assert attentions.name == ("fragile" if good == 3 else "dense")
    assert ("fragile attention has failed, dense is used" in caplog.text) is bool(failed)


def test_the_last_one_raises_its_own_error(packed):
    attentions = Attentions({"fragile": Fragile, "other": Fragile})
    with pytest.raises(torch.OutOfMemoryError, match="a long story"):
        in_layers(attentions(packed, CPU), packed)
    assert attentions.failed.keys() == {"fragile"}


def test_a_single_one_is_left_as_it_is(packed):
    assert type(Attentions({"tree": TreeBlocks})(packed, CPU)) is TreeBlocks


def test_those_of_a_device():
    assert kinds("auto", CPU) == kinds("tree", CPU) == {"tree": TreeBlocks}
    assert kinds("dense", CPU) == kinds("auto", torch.device("mps")) == {"dense": DenseMask}
    assert list(kinds("auto", CUDA)) == list(kinds("tree", CUDA)) == ["varlen", "flex", "dense"]
    assert list(kinds("flex", CUDA)) == ["flex"]
    with pytest.raises(UserError, match=r"shared_prefix=varlen is for a CUDA GPU.*=auto"):
        kinds("varlen", CPU)
