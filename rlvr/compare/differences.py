"""One accuracy less another, on the same questions."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from rlvr.compare import seeds
from rlvr.compare.answers import Shares
from rlvr.evaluation.statistics import detectable_difference, difference_interval, paired_test


@dataclass(frozen=True)
class Difference:
    """Shares of one, with the 95 % interval; `n` questions were answered by both."""

    mean: float
    low: float
    high: float
    n: int
    p_value: float
    estimate: seeds.Estimate
    discordance: float | None = None  # share of questions that differ, of one sample each

    @property
    def detectable(self) -> float | None:
        """The smallest true difference that as many questions likely show, None for none."""
        if self.discordance is None:
            return seeds.detectable(self.estimate)
        return detectable_difference(self.n, self.discordance)


def between(ours: Sequence[Shares], theirs: Sequence[Shares]) -> Difference | None:
    """Ours less theirs, the answers of one seed or several; None without a common question.

    Of one seed each: exact McNemar or sign test, and bootstrap over the questions. Of several:
    Student's t with the variances of `rlvr.compare.seeds`.
    """
    found = seeds.difference(seeds.estimate(ours), seeds.estimate(theirs))
    if len(ours) == len(theirs) == 1:
        return _paired(ours[0], theirs[0], found)
    n = len(set().union(*ours) & set().union(*theirs))
    return of_several(found, n) if n else None


def of_several(found: seeds.Estimate, n: int) -> Difference:
    interval = seeds.interval(found)
    return Difference(found.mean, interval.low, interval.high, n, seeds.p_value(found), found)


def _paired(ours: Shares, theirs: Shares, found: seeds.Estimate) -> Difference | None:
    common = [question for question in ours if question in theirs]
    if not common:
        return None
    before, after = ([shares[question] for question in common] for shares in (theirs, ours))
    interval, test = difference_interval(before, after), paired_test(before, after)
    single = {*before, *after} <= {0.0, 1.0}
    return Difference(
        fmean(after) - fmean(before),
        interval.low,
        interval.high,
        len(common),
        test.p_value,
        found,
        (test.base_only + test.trained_only) / len(common) if single else None,
    )
