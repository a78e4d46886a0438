"""What a verifier says of one completion: rewards, evaluation and health all read verdicts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean
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


# What becomes of code, the best first; those from `raised` to `too_slow` are of its execution.
OUTCOMES = (
    "passed", "wrong", "raised", "memory", "exited", "crashed", "too_slow", "forged",
    "no_entry_point", "not_run", "not_compiled", "no_code", "infra_error",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Failure:
    """The first test that failed: `given` is the call or the input; None is unknown."""

    test: str
    given: str | None = None
    expected: str | None = None
    got: str | None = None


@dataclass(frozen=True, slots=True)
class Execution:
    """What became of code that was run against a task's tests.

    `outcome` is one of OUTCOMES, `shown` and `hidden` are the tests that the prompt shows and the
    others: how many passed, and how many there are. `signs` of an attempt to be paid without
    solving the task are among `rlvr.sandbox.judging.SIGNS`.
    """

    outcome: str
    code: str = ""
    shown: tuple[int, int] = (0, 0)
    hidden: tuple[int, int] = (0, 0)
    failure: Failure | None = None
    signs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """One completion's verdict.

    `reward` is in [0, 1], or None when the verifier itself failed (never a silent 0).
    `extracted` is the answer as the verifier read it; `format_ok` says whether the completion
    ends in one well-formed answer line, right or wrong. `execution` is of completions that are
    code.
    """

    reward: float | None
    reason: Reason
    extracted: str | None = None
    format_ok: bool = False
    execution: Execution | None = None

    @property
    def correct(self) -> bool:
        return self.reason is Reason.CORRECT


def pass_rates(tests: Sequence[tuple[Sequence[int], Sequence[int]]]) -> dict[str, float]:
    """Mean shares of tests passed, from `Execution.shown` and `hidden` of completions.

    Of `all` tests, and over completions that met both of `shown` and of `hidden` ones.
    """
    both = [(shown, hidden) for shown, hidden in tests if shown[1] and hidden[1]]
    counts: dict[str, list[Sequence[int]]] = {
        "all": [(shown[0] + hidden[0], shown[1] + hidden[1]) for shown, hidden in tests],
        "shown": [shown for shown, _ in both],
        "hidden": [hidden for _, hidden in both],
    }
    shares = {which: [n / total for n, total in found if total] for which, found in counts.items()}
    return {which: fmean(found) for which, found in shares.items() if found}


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
