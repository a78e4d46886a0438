"""The prompts of a run: built for training from the optimizer step, for evaluations from a number.

Nothing is remembered from step to step, so that a run that goes on builds the same prompts.
"""

import random
from dataclasses import dataclass

from rlvr.config.schema import ExemplarChoice
from rlvr.data.choice import Chooser
from rlvr.data.prompts import PromptBuilder, PromptTemplate
from rlvr.data.schedule import ShotSchedule


@dataclass(frozen=True)
class RolloutPrompts:
    """How many exemplars (`schedule`), which (`chooser`), and how they are written (`template`)."""

    template: PromptTemplate
    chooser: Chooser
    schedule: ShotSchedule
    seed: int = 0

    @property
    def moves(self) -> bool:
        """Whether the prompt of a question changes while training goes on."""
        return self.schedule.moves or self.chooser.choice is ExemplarChoice.rotating

    def asked(self, question: str, shots: int) -> str:
        return self._builder(question, shots, 0)(question)

    def trained(self, question: str, step: int, steps: int, group: int) -> str:
        """After `step` of `steps` optimizer steps. `group` numbers the questions that are sampled
        together: each has a chance of its own, wherever its completions are sampled."""
        return self._builder(question, self.shots(step, steps, group), step)(question)

    def shots(self, step: int, steps: int, group: int) -> int:
        chance = random.Random(f"{self.seed}/shots/{step}/{group}").random()
        return self.schedule.shots(step / steps, chance)

    def longest(self, question: str) -> str:
        """As long as training makes it."""
        return PromptBuilder(self.template, self.chooser.longest(self.schedule.most))(question)

    def _builder(self, question: str, shots: int, step: int) -> PromptBuilder:
        return PromptBuilder(self.template, self.chooser(question, shots, step))
