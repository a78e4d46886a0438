"""How many exemplars stand before a question, by how much of the training is done.

Exemplars at the start that are taken away: ICRL (arXiv 2603.08068), in stages, and CBRL
(arXiv 2603.18953), by chance for each question.
"""

import math
from dataclasses import dataclass
from typing import Self

from omegaconf import DictConfig

from rlvr.config.schema import Schedule


@dataclass(frozen=True)
class ShotSchedule:
    """From `start` exemplars to `end`, reached after the share `until` of the optimizer steps.

    With `bernoulli` a question has `start` of them with a probability that falls from `probability`
    to 0 in that time, and `end` of them otherwise.
    """

    kind: Schedule
    start: int
    end: int
    until: float = 1.0
    probability: float = 1.0

    @classmethod
    def constant(cls, shots: int) -> Self:
        return cls(Schedule.constant, shots, shots)

    @classmethod
    def of(cls, cfg: DictConfig) -> Self:
        """That of a run; one that is constant has the shots of its dataset."""
        if cfg.shots_schedule is Schedule.constant:
            return cls.constant(cfg.dataset.num_shots)
        return cls(
            cfg.shots_schedule, cfg.shots, cfg.shots_end, cfg.shots_until, cfg.shots_probability
        )

    @property
    def moves(self) -> bool:
        return self.kind is not Schedule.constant

    @property
    def ends(self) -> list[int]:
        """The shots that it begins and ends with."""
        return list(dict.fromkeys((self.start, self.end)))

    @property
    def most(self) -> int:
        return max(self.start, self.end)

    def shots(self, done: float, chance: float) -> int:
        """`done` is the share of the optimizer steps that are taken, `chance` a random number from
        0 to 1 of the question's own."""
        left = self._left(min(1.0, round(done / self.until, 9)))
        if self.kind is Schedule.bernoulli:
            return self.start if chance < self.probability * left else self.end
        # An exemplar goes when all of it is due, so that the stages of `linear` are equally long.
        moved = math.floor(round(abs(self.end - self.start) * (1 - left), 9))
        return self.start + (moved if self.end > self.start else -moved)

    def _left(self, progress: float) -> float:
        """The share of the way that is still to go; both from 0 to 1."""
        match self.kind:
            case Schedule.linear | Schedule.bernoulli:
                return 1 - progress
            case Schedule.cosine:
                return (1 + math.cos(math.pi * progress)) / 2
            case Schedule.step:
                return float(progress < 1)
            case _:
                return 1.0

    def __str__(self) -> str:
        """`8 shots`, `8 to 0, linear until 50 %`."""
        if not self.moves:
            return f"{self.start} shots"
        by_chance = self.kind is Schedule.bernoulli and self.probability < 1
        chance = f" from {100 * self.probability:g} %" if by_chance else ""
        until = f"{100 * self.until:g} %"
        return f"{self.start} to {self.end}, {self.kind.value}{chance} until {until}"
