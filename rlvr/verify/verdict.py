"""What a verifier says of one completion: rewards, evaluation and health all read verdicts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Reason(StrEnum):
    """Why a completion got its reward. Each becomes a metric, so none may hide another."""

    CORRECT = "correct"
    WRONG = "wrong"
    PARTIAL = "partial"
    NO_ANSWER = "no_answer"
    MULTIPLE_ANSWERS = "multiple_answers"
    UNPARSEABLE = "unparseable"
    RUN_ERROR = "run_error"
    TIMEOUT = "timeout"
    INFRA_ERROR = "infra_error"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One completion's verdict.

    `reward` is in [0, 1], or None when the verifier itself failed (never a silent 0).
    `extracted` is the answer as the verifier read it; `format_ok` says whether the completion
    ends in one well-formed answer line, right or wrong.
    """

    reward: float | None
    reason: Reason
    extracted: str | None = None
    format_ok: bool = False

    @property
    def correct(self) -> bool:
        return self.reason is Reason.CORRECT


# One completion, its gold and its columns -> what waits for its verdict.
Submit = Callable[..., Callable[[], Verdict]]


class Verifier(Protocol):
    """Decides whether completions are right. A dataset names its verifier in `dataset.verifier`.

    One that is slow may also have a method `begin()`: a context manager that gives a `Submit`, with
    which completions are judged as they come, while others are sampled.
    """

    def canonical(self, gold: object) -> str:
        """The one spelling of a gold answer ("1,080" -> "1080"); ValueError says why it is none."""
        ...

    def verify(
        self, completions: Sequence[str], golds: Sequence[str], **columns: Sequence[object]
    ) -> list[Verdict]:
        """One verdict per completion, always; `columns` are the dataset's other columns."""
        ...
