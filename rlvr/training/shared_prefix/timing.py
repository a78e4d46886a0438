"""Where a training step's time goes, as `perf/*` metrics beside TRL's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

import torch


def clock() -> float:
    """Seconds. A GPU is waited for: what was asked of it is done by then."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return perf_counter()


@dataclass
class Phases:
    """Of the optimizer step under way."""

    waited: float = 0.0  # seconds for inputs
    checked: float = 0.0  # for comparisons with the plain path
    updated: float = 0.0  # in forward and backward
    tokens: int = 0  # trained, as if every copy had been computed
    rows: int = 0  # with a gradient
    padded: int = 0  # their tokens and the padding that stock would compute

    @contextmanager
    def waiting(self, training: bool) -> Iterator[None]:
        """An evaluation within a step is no part of it."""
        start = clock()
        yield
        self.waited += (clock() - start) * training

    @contextmanager
    def checking(self) -> Iterator[None]:
        start = clock()
        yield
        self.checked += clock() - start

    @contextmanager
    def updating(self) -> Iterator[None]:
        start, others = clock(), self.waited + self.checked
        yield
        self.updated += clock() - start - (self.waited + self.checked - others)
