"""Whether a shared computation is the plain one, measured against how two plain ones differ.

Two of the model's own attention functions (its own and eager) differ by rounding alone. What we
compute may differ a few times as much, whatever the precision and the depth of the model.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rlvr.errors import UserError
from rlvr.prefix.support import base_model

# Rounding varies by less than two from batch to batch.
ROUNDINGS = 3.0
# In float32 two attentions may agree to the bit, on few tokens.
LOG_PROBS = 1e-4  # mean difference, nats
GRADIENT = 1e-3  # norm of the difference over that of the gradient

Values = tuple[Tensor, ...]


@dataclass(frozen=True)
class Difference:
    """How far ours and another stock attention are from stock; `floor` is never too far."""

    ours: float
    rounding: float
    floor: float

    @property
    def is_rounding(self) -> bool:
        """False also when a number is NaN."""
        return self.ours <= ROUNDINGS * self.rounding + self.floor

    def __str__(self) -> str:
        return f"{self.ours:.2g} where two stock attentions differ by {self.rounding:.2g}"


def of_log_probs(ours: Tensor, stock: Tensor, other: Tensor) -> Difference:
    """Mean absolute differences of log-probabilities, all of one shape."""

    def mean(x: Tensor) -> float:
        return float((x.double() - stock.double()).abs().mean())

    return Difference(mean(ours), mean(other), LOG_PROBS)


def of_gradients(ours: Values, stock: Values, other: Values) -> Difference:
    """Norms of the differences of gradients, over that of stock's."""

    def norm(tensors: Iterator[Tensor]) -> float:
        return float(torch.stack([x.double().norm() for x in tensors]).norm())

    scale = norm(iter(stock)) or 1.0

    def distance(values: Values) -> float:
        return norm(x - y for x, y in zip(values, stock, strict=True)) / scale

    return Difference(distance(ours), distance(other), GRADIENT)


@contextmanager
def eager(model: Any) -> Iterator[None]:
    """The model with transformers' own attention, written out in plain operations."""
    core = base_model(model)
    own = core.config._attn_implementation
    core.set_attn_implementation("eager")
    try:
        yield
    finally:
        core.set_attn_implementation(own)


def require(what: str, key: str, difference: Difference) -> None:
    """Raise UserError, naming the switch `key`, unless the difference is rounding."""
    if not difference.is_rounding:
        raise UserError(
            f"trainer.self_check: with shared prefixes, {what} differ from the plain path by "
            f"{difference}. Set {key}, and please report the model."
        )


def compare(plain: Callable[[], Values], model: Any) -> tuple[Values, Values]:
    """What `plain` returns with the model's own attention, and with eager attention."""
    stock = plain()
    with eager(model):
        return stock, plain()
