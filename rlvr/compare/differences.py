"""One accuracy less another, on the same questions."""

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


def of_pairs(ours: Shares, theirs: Shares) -> Difference | None:
    """Ours less theirs of one seed each, on the questions that both have: exact McNemar test (of
    several samples, sign test) and bootstrap over questions. None without a common question."""
    common = [question for question in ours if question in theirs]
    if not common:
        return None
    before, after = ([shares[question] for question in common] for shares in (theirs, ours))
    interval, test = difference_interval(before, after), paired_test(before, after)
    mean = fmean(after) - fmean(before)
    return Difference(mean, interval.low, interval.high, len(common), test.p_value)


def of_seeds(found: seeds.Estimate, n: int) -> Difference:
    """Of several seeds, `n` questions common to both: Student's t over questions and seeds."""
    interval = seeds.interval(found)
    return Difference(found.mean, interval.low, interval.high, n, seeds.p_value(found))


def detectable(ours: Shares, theirs: Shares) -> float | None:
    """The smallest true difference that as many questions likely show, from how often these
    differ. None where there are too few to show any."""
    common = [question for question in ours if question in theirs]
    pairs = [(ours[question], theirs[question]) for question in common]
    if {share for pair in pairs for share in pair} <= {0.0, 1.0}:
        return detectable_difference(len(pairs), sum(a != b for a, b in pairs) / len(pairs))
    return seeds.detectable(seeds.estimate([{q: ours[q] - theirs[q] for q in common}]))
