"""Which exemplars stand before a question, and in which order."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from rlvr.config.schema import ExemplarChoice, ExemplarOrder
from rlvr.data.prompts import Exemplar
from rlvr.data.similarity import BM25, words
from rlvr.errors import UserError


@dataclass(frozen=True)
class Chooser:
    """A choice is a ranking of `pool`, of which the first few are shown.

    Fewer are therefore always among more, and but for `shuffled` they stand in the same order.
    `similar` ranks by BM25 of the questions and never shows the question itself, so that it has
    one fewer to choose from where the pool holds it. `seed` draws for `random`, once, for
    `rotating`, at every optimizer step, and for `shuffled`. `easiest` and `hardest` rank by the
    pass rates that the exemplars come with: UserError where one has none.
    """

    pool: Sequence[Exemplar]
    choice: ExemplarChoice = ExemplarChoice.first
    order: ExemplarOrder = ExemplarOrder.chosen
    seed: int = 0

    def __post_init__(self) -> None:
        lacking = [exemplar for exemplar in self.pool if exemplar.pass_rate is None]
        if self.choice in (ExemplarChoice.easiest, ExemplarChoice.hardest) and lacking:
            raise UserError(
                f"dataset.exemplar_choice={self.choice}: {len(lacking)} of {len(self.pool)} "
                f"exemplars have no pass_rate, such as {lacking[0].question[:60]!r}; write it "
                "into each row of dataset.exemplars=FILE.jsonl, a number from 0 to 1"
            )

    def __call__(self, question: str, count: int, step: int = 0) -> list[Exemplar]:
        """`step` counts optimizer steps; what is asked outside of training is asked as at 0."""
        if not count:
            return []
        chosen = self._ranked(question, step)[:count]
        match self.order:
            case ExemplarOrder.reversed:
                return chosen[::-1]
            case ExemplarOrder.shuffled:
                return _shuffled(chosen, f"{self.seed}/order")
            case _:
                return chosen

    @property
    def is_shared(self) -> bool:
        """Whether all questions of a step have the same exemplars before them."""
        return self.choice is not ExemplarChoice.similar

    def longest(self, count: int) -> list[Exemplar]:
        """What takes most room, by the characters, where that is not the same for all."""
        fixed = self.is_shared and self.choice is not ExemplarChoice.rotating
        return self("", count) if fixed else self._by_length[::-1][:count]

    def _ranked(self, question: str, step: int) -> list[Exemplar]:
        match self.choice:
            case ExemplarChoice.random:
                return _shuffled(self.pool, f"{self.seed}/exemplars")
            case ExemplarChoice.rotating:
                return _shuffled(self.pool, f"{self.seed}/exemplars/{step}")
            case ExemplarChoice.shortest:
                return self._by_length
            case ExemplarChoice.longest:
                return self._by_length[::-1]
            case ExemplarChoice.easiest:
                return sorted(self.pool, key=_pass_rate, reverse=True)
            case ExemplarChoice.hardest:
                return sorted(self.pool, key=_pass_rate)
            case ExemplarChoice.similar:
                return self._by_similarity(question)
            case _:
                return list(self.pool)

    @cached_property
    def _by_length(self) -> list[Exemplar]:
        """Shortest first, by the characters."""
        return sorted(self.pool, key=lambda e: len(e.question) + len(e.solution) + len(e.answer))

    def _by_similarity(self, question: str) -> list[Exemplar]:
        scores = self._similarity(question)
        others = [i for i, e in enumerate(self.pool) if words(e.question) != words(question)]
        return [self.pool[i] for i in sorted(others, key=lambda i: -scores[i])]

    @cached_property
    def _similarity(self) -> BM25:
        return BM25([exemplar.question for exemplar in self.pool])


def _pass_rate(exemplar: Exemplar) -> float:
    assert exemplar.pass_rate is not None
    return exemplar.pass_rate


def _shuffled(exemplars: Sequence[Exemplar], seed: str) -> list[Exemplar]:
    drawn = list(exemplars)
    random.Random(seed).shuffle(drawn)
    return drawn
