"""What the runs of one recipe say together, when they differ in nothing but their seed.

Two things make their mean uncertain: other questions could have been asked, and other seeds could
have been drawn. Questions are clusters: what a question adds to the mean's error is summed over the
seeds that asked it, and its square is the variance (so it does not matter whether all seeds asked
the same questions). To it comes the variance between seeds, less the part of it that the questions
explain. With two or three seeds this second part is hardly known, so the quantile is Student's,
with Satterthwaite's (1946) degrees of freedom: with seeds that agree the interval is about that of
questions alone, and seeds that do not make it as wide as it must be.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, variance

from rlvr.compare.answers import Shares
from rlvr.evaluation.statistics import LEVEL, POWER, Interval, wilson


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds. `errors` is what each question adds to its error, `between` the variance
    that seeds add, `seen` the variances of the mean as the seeds of each side show them, with their
    degrees of freedom: what the questions explain is still in these."""

    mean: float
    errors: Mapping[str, float]
    between: float = 0.0
    seen: tuple[tuple[float, int], ...] = ()

    @property
    def within(self) -> float:
        """Variance of the mean by the questions that were asked."""
        n = len(self.errors)
        return sum(e * e for e in self.errors.values()) * n / (n - 1) if n > 1 else 0.25

    @property
    def variance(self) -> float:
        return self.within + self.between

    @property
    def freedom(self) -> float:
        parts = [(self.within, max(1, len(self.errors) - 1)), *self.seen]
        total = sum(part**2 / freedom for part, freedom in parts)
        return self.variance**2 / total if total else parts[0][1]


def estimate(seeds: Sequence[Shares]) -> Estimate:
    """Of at least one seed, each with at least one question; all seeds weigh the same."""
    count, means = len(seeds), [fmean(shares.values()) for shares in seeds]
    errors: defaultdict[str, float] = defaultdict(float)
    for shares, mean in zip(seeds, means, strict=True):
        for question, share in shares.items():
            errors[question] += (share - mean) / (count * len(shares))
    found = Estimate(fmean(means), errors)
    if count == 1:
        return found
    alone = [estimate([shares]).within for shares in seeds]
    explained = (sum(alone) - count * found.within) / (count - 1)
    seen = variance(means)
    between = max(0.0, seen - explained) / count
    return Estimate(found.mean, errors, between, ((seen / count, count - 1),))


def difference(ours: Estimate, theirs: Estimate) -> Estimate:
    """Ours less theirs; what a question adds to both cancels."""
    questions = {**ours.errors, **theirs.errors}
    errors = {q: ours.errors.get(q, 0.0) - theirs.errors.get(q, 0.0) for q in questions}
    seen = (*ours.seen, *theirs.seen)
    return Estimate(ours.mean - theirs.mean, errors, ours.between + theirs.between, seen)


def interval(found: Estimate) -> Interval:
    """95 %, of a difference."""
    half = _student(1 - LEVEL / 2, found.freedom) * found.variance**0.5
    return Interval(found.mean - half, found.mean + half)


def p_value(found: Estimate) -> float:
    """Two-sided, that a difference is none (Student's t)."""
    from scipy.special import stdtr

    if found.variance == 0:
        return float(found.mean == 0)
    return 2 * float(stdtr(found.freedom, -abs(found.mean) / found.variance**0.5))


def detectable(found: Estimate) -> float:
    """The smallest true difference that a test at 5 % shows with 80 % probability."""
    quantiles = (_student(q, found.freedom) for q in (1 - LEVEL / 2, POWER))
    return sum(quantiles) * found.variance**0.5


def accuracy_interval(found: Estimate) -> Interval:
    """95 %, of an accuracy: Wilson's, of as many questions as would have its variance.

    That effective number is the one of Franco et al. (2019, J. Survey Stat. Methodol. 7), made less
    for Student's quantile as by Korn and Graubard (1998). Where all answers are right, or none, it
    is the number of questions.
    """
    z, mean = NormalDist().inv_cdf(1 - LEVEL / 2), found.mean
    effective = mean * (1 - mean) / found.variance if found.variance else len(found.errors)
    effective *= (z / _student(1 - LEVEL / 2, found.freedom)) ** 2
    return wilson(mean * effective, effective)


def _student(probability: float, freedom: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, probability))
