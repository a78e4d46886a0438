"""Sampling from a model whose weights FSDP2 has spread over the ranks."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.distributed.fsdp import FSDPModule


@contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """Every rank has all weights, and calls the model as often as it needs; without shards nothing
    happens. Ranks enter and leave together.

    Otherwise each call gathers weights, and a rank with fewer calls would keep the others waiting.
    """
    shards = [module for module in model.modules() if isinstance(module, FSDPModule)]
    for module in shards:
        module.set_reshard_after_forward(False, recurse=False)
        module.unshard()
    try:
        yield
    finally:
        for module in shards:
            module.set_reshard_after_forward(True, recurse=False)
            module.reshard()
