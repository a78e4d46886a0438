"""Intervals, the paired test and pass@k: how sure one may be of an accuracy."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb


@dataclass(frozen=True)
class Interval:
    low: float
    high: float


def wilson(successes: float, n: int) -> Interval:
    """95 % score interval of a proportion (Wilson 1927); `successes` may be fractional, n >= 1."""
    z = 1.959963984540054
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    # At p = 0 and p = 1 the bounds are 0 and 1; rounding must not push them past p.
    return Interval(min(p, max(0.0, centre - half)), max(p, min(1.0, centre + half)))


@dataclass(frozen=True)
class Paired:
    """How many questions one model does better than the other, and the two-sided exact p value."""

    n: int
    base_only: int
    trained_only: int
    p_value: float


def paired_test(base: Sequence[float], trained: Sequence[float]) -> Paired:
    """Exact McNemar test (1947): binomial on the questions that differ; both (n,), same questions.

    With several samples a question the entries are shares of right answers, and this is the exact
    sign test; with one sample they are 0 or 1, and it is McNemar's test.
    """
    pairs = list(zip(base, trained, strict=True))
    lost = sum(b > t for b, t in pairs)
    won = sum(t > b for b, t in pairs)
    return Paired(len(pairs), lost, won, _binomial_two_sided(min(lost, won), lost + won))


def _binomial_two_sided(k: int, n: int) -> float:
    """P(at most k or at least n - k heads in n tosses), in exact integer arithmetic."""
    if n == 0:
        return 1.0
    tail = sum(comb(n, i) for i in range(k + 1))
    return min(1.0, 2 * tail / 2**n)


def pass_at_k(correct: Sequence[int], samples: int, k: int) -> float:
    """Unbiased pass@k (arXiv 2107.03374): of `samples`, `correct[i]` were right; mean over i."""
    if not 1 <= k <= samples:
        raise ValueError(f"pass@{k} needs at least {k} samples a question, there are {samples}")
    return sum(1 - comb(samples - c, k) / comb(samples, k) for c in correct) / len(correct)
