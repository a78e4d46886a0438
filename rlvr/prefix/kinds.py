"""The attentions that a device has for packed tries, and what becomes of one that fails."""

import logging
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from rlvr.errors import UserError
from rlvr.prefix.attention import (
    AttentionKind,
    DenseMask,
    PackAttention,
    TreeBlocks,
    UnshareableError,
)
from rlvr.prefix.flex import FlexMask
from rlvr.prefix.levels import VarlenLevels
from rlvr.prefix.trie import Packed

log = logging.getLogger(__name__)

ON_CUDA: dict[str, AttentionKind] = {
    "varlen": VarlenLevels,
    "flex": FlexMask,
    "dense": DenseMask,
}


def kinds(mode: str, device: torch.device) -> dict[str, AttentionKind]:
    """Those of `trainer.shared_prefix`, in the order in which they are tried."""
    if device.type == "cuda":
        return ON_CUDA if mode in ("auto", "tree") else {mode: ON_CUDA[mode]}
    if mode in ("varlen", "flex"):
        raise UserError(
            f"trainer.shared_prefix={mode} is for a CUDA GPU, and this run is on "
            f"{device.type}: set trainer.shared_prefix=auto"
        )
    on_cpu = device.type == "cpu" and mode != "dense"
    return {"tree": TreeBlocks} if on_cpu else {"dense": DenseMask}


class Attentions:
    """An `AttentionKind`: the first of several, and the next one from where the first has failed.

    A single one is left as it is, errors included.
    """

    def __init__(self, kinds: dict[str, AttentionKind]) -> None:
        self.kinds = dict(kinds)
        self.failed: dict[str, str] = {}  # what each has raised

    @property
    def name(self) -> str:
        return next(iter(self.kinds))

    def __call__(self, packed: Packed, device: torch.device, above: int = 0) -> PackAttention:
        if len(self.kinds) == 1 and not self.failed:
            return self.kinds[self.name](packed, device, above)
        return _OfOnePack(self, packed, device, above)

    def order(self, names: Iterable[str]) -> None:
        """Keep those that are named, as far as they are here, in the order in which they are."""
        self.kinds = {name: self.kinds[name] for name in names if name in self.kinds}

    def drop(self, name: str, error: Exception) -> None:
        """Raises the error itself where no other one is left."""
        if len(self.kinds) == 1:
            raise error
        del self.kinds[name]
        self.failed[name] = told(error)
        log.warning("%s attention has failed, %s is used: %s", name, self.name, self.failed[name])


def told(error: Exception) -> str:
    """One line: compilers append their whole input."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"


class _OfOnePack:
    """A layer that is recomputed gets the attention it had: what it saves must be the same."""

    def __init__(
        self, attentions: Attentions, packed: Packed, device: torch.device, above: int
    ) -> None:
        self.attentions, self.pack = attentions, (packed, device, above)
        self.made: dict[str, PackAttention] = {}
        self.used: dict[int, PackAttention] = {}  # by module

    def __call__(
        self, module: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float
    ) -> Tensor:
        if known := self.used.get(id(module)):
            return known(module, query, key, value, scaling)
        while True:
            name = self.attentions.name
            try:
                attention = self._of(name)
                out = attention(module, query, key, value, scaling)
            except UnshareableError:
                raise
            # A compiler, a kernel and a GPU without memory raise what they like.
            except Exception as error:
                self.attentions.drop(name, error)
                continue
            self.used[id(module)] = attention
            return out

    def _of(self, name: str) -> PackAttention:
        if name not in self.made:
            self.made[name] = self.attentions.kinds[name](*self.pack)
        return self.made[name]

    def forget(self) -> None:
        for attention in self.made.values():
            attention.forget()
