"""Few-shot prompts: the one text that training and every evaluation share."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Exemplar:
    """A solved question shown in the prompt; `answer` is written as it stands.

    `pass_rate` is the share of a model's answers to it that are right, where it was measured."""

    question: str
    solution: str
    answer: str
    pass_rate: float | None = None


@dataclass(frozen=True)
class PromptTemplate:
    """How questions and solutions are written. A prompt ends where the model is to go on."""

    instruction: str = ""
    question: str = "Question: {question}\n"
    solution: str = "Solution: Let's think step by step."
    answer_prefix: str = "#### The final answer is"
    separator: str = "\n\n"
    completion: str = " {solution}\n{answer_prefix} {answer}"

    def ask(self, question: str) -> str:
        return self.question.format(question=question) + self.solution

    def solve(self, solution: str, answer: str) -> str:
        """A completion as exemplars show it; begins with a space, as tokenizers expect of words."""
        written = {"solution": solution, "answer": answer, "answer_prefix": self.answer_prefix}
        return self.completion.format(**written)


@dataclass(frozen=True)
class PromptBuilder:
    """Turns a question into a prompt: the same exemplars, in the same order, before each one."""

    template: PromptTemplate
    exemplars: Sequence[Exemplar] = ()

    @property
    def prefix(self) -> str:
        """What all prompts share, up to and including the separator before the question."""
        t = self.template
        shown = [t.ask(e.question) + t.solve(e.solution, e.answer) for e in self.exemplars]
        return "".join(part + t.separator for part in [t.instruction, *shown] if part)

    def __call__(self, question: str) -> str:
        return self.prefix + self.template.ask(question)
