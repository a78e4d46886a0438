"""Verifies numeric answers exactly, at microseconds a completion.

What is read as an answer and what is refused is one table: docs/rewards.md, "Numeric answers".
"""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

from rlvr.errors import UserError
from rlvr.verify.answers import REFERENCE_PREFIX, AnswerLines, spoken
from rlvr.verify.numbers import canonical_number
from rlvr.verify.verdict import Reason, Verdict

SHOWN = 80  # characters of an unreadable answer kept in a verdict


class NumericVerifier:
    """Exact comparison of the one number on the answer line with the gold answer.

    Equal within `relative_tolerance` of the gold or `absolute_tolerance` counts as correct; both
    are 0 unless the dataset says otherwise.
    """

    def __init__(
        self,
        answer_prefix: str = REFERENCE_PREFIX,
        relative_tolerance: float = 0.0,
        absolute_tolerance: float = 0.0,
    ) -> None:
        self._lines = AnswerLines(answer_prefix)
        self._tolerance = Tolerance(relative_tolerance, absolute_tolerance)

    def canonical(self, gold: object) -> str:
        """The one spelling of a gold answer ("$1,080" -> "1080"); ValueError when it is none."""
        value = cached_number(written(gold))
        if value is None:
            raise ValueError(f"{gold!r} is not a number")
        return value

    def verify(
        self, completions: Sequence[str], golds: Sequence[str], **columns: Sequence[object]
    ) -> list[Verdict]:
        """One verdict per completion; ValueError when there are not as many golds."""
        return [self._judge(c, g) for c, g in zip(completions, golds, strict=True)]

    def _judge(self, completion: str, gold: str) -> Verdict:
        answer = one_number(self._lines(spoken(completion)))
        if isinstance(answer, Verdict):
            return answer
        expected = cached_number(gold) if isinstance(gold, str) else None
        if expected is None:
            return Verdict(None, Reason.INFRA_ERROR, answer, True)
        if answer == expected or self._tolerance.equal(answer, expected):
            return Verdict(1.0, Reason.CORRECT, answer, True)
        return Verdict(0.0, Reason.WRONG, answer, True)


def one_number(lines: Sequence[str]) -> str | Verdict:
    """The one number on the answer lines, or the verdict when there is none or more than one."""
    if not lines:
        return Verdict(0.0, Reason.NO_ANSWER)
    value = cached_number(lines[0])
    for line in lines[1:]:
        if line != lines[0] and (value is None or cached_number(line) != value):
            shown = f"{lines[0][:SHOWN]} | {line[:SHOWN]}"
            return Verdict(0.0, Reason.MULTIPLE_ANSWERS, shown)
    return Verdict(0.0, Reason.UNPARSEABLE, lines[0][:SHOWN]) if value is None else value


cached_number = lru_cache(maxsize=1 << 14)(canonical_number)


def written(gold: object) -> str:
    """A gold as text; ValueError for what is neither text nor a number."""
    if isinstance(gold, bool) or not isinstance(gold, (str, int, float, Decimal, Fraction)):
        raise ValueError(f"{gold!r} is a {type(gold).__name__}, not a number")
    return repr(gold) if isinstance(gold, float) else str(gold)


class Tolerance:
    """Whether a number is near enough to a gold: within a share of it, or a distance from it."""

    def __init__(self, relative: float, absolute: float) -> None:
        self._relative = _declared("relative_tolerance", relative)
        self._absolute = _declared("absolute_tolerance", absolute)
        self._exact = not (relative or absolute)

    def equal(self, answer: str, expected: str) -> bool:
        """Both in canonical spelling."""
        if self._exact or answer == expected:
            return answer == expected
        gold = Fraction(expected)
        return abs(Fraction(answer) - gold) <= max(self._absolute, self._relative * abs(gold))


def _declared(name: str, value: float) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e9:
        raise UserError(f"{name}={value!r}: a number of 0 or more is expected.")
    return Fraction(repr(value))
