"""How sure one may be of an accuracy, of a difference between two, and of several at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from statistics import NormalDist

LEVEL = 0.05  # of tests; intervals have 1 - LEVEL
POWER = 0.8
RESAMPLES = 9999


@dataclass(frozen=True)
class Interval:
    low: float
    high: float


def wilson(successes: float, n: float, level: float = LEVEL) -> Interval:
    """Score interval of a proportion (Wilson 1927), 95 % unless `level` says otherwise; successes
    and n > 0 may be fractional.

    The closed form, because scipy's `binomtest` has this interval for whole successes only, and
    with several samples a question they are shares.
    """
    z = NormalDist().inv_cdf(1 - level / 2)
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
    from scipy.stats import binomtest

    pairs = list(zip(base, trained, strict=True))
    lost = sum(b > t for b, t in pairs)
    won = sum(t > b for b, t in pairs)
    p_value = float(binomtest(won, won + lost).pvalue) if won + lost else 1.0
    return Paired(len(pairs), lost, won, p_value)


def difference_interval(base: Sequence[float], trained: Sequence[float]) -> Interval:
    """95 % interval of the difference in accuracy, trained - base; both (n,), same questions.

    Percentile bootstrap over questions (Efron 1979), always from the same seed. It has no width
    where every question differs by the same, and is all there can be below two questions.
    """
    differences = [float(t) - float(b) for b, t in zip(base, trained, strict=True)]
    return mean_interval(differences) if len(differences) > 1 else Interval(-1.0, 1.0)


def mean_interval(values: Sequence[float]) -> Interval:
    """95 % interval of the mean of `values`, (n,), by the percentile bootstrap from one seed."""
    import numpy as np

    n = len(values)
    # To draw n questions is to draw how often each kind of value occurs.
    kinds, counts = np.unique(values, return_counts=True)
    draws = np.random.default_rng(0).multinomial(n, counts / n, RESAMPLES) @ kinds / n
    low, high = np.quantile(draws, [LEVEL / 2, 1 - LEVEL / 2])
    return Interval(float(low), float(high))


def detectable_difference(n: int, discordance: float) -> float | None:
    """The smallest true difference in accuracy that `paired_test` on `n` questions likely shows.

    That is: a two-sided p value of at most 5 %, in the right direction, with 80 % probability
    (exact, over the binomial numbers of discordant and of won questions). `discordance` is the
    share of questions, one sample each, on which the two differ; a difference above it brings its
    own. None where even a difference of 1 is not shown (n < 6).
    """
    import numpy as np
    from scipy.optimize import brentq
    from scipy.stats import binom

    differing = np.arange(n + 1)
    most_lost = binom.ppf(LEVEL / 2, differing, 0.5)  # at which a p value is at most LEVEL, or one
    most_lost -= binom.cdf(most_lost, differing, 0.5) > LEVEL / 2  # below that; -1 for never

    def missing_power(difference: float) -> float:
        share = max(discordance, difference)
        shown = binom.cdf(most_lost, differing, (share - difference) / (2 * share))
        return POWER - float(binom.pmf(differing, n, share) @ shown)

    return float(brentq(missing_power, 1e-9, 1.0)) if missing_power(1.0) < 0 else None


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values adjusted for being a family (Holm 1979), in the given order.

    At most `LEVEL` of families without any effect have one below `LEVEL`.
    """
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, (len(p_values) - rank) * p_values[index])
        adjusted[index] = min(1.0, largest)
    return adjusted


def pass_at_k(correct: int, samples: int, k: int) -> float:
    """Unbiased pass@k of a question (arXiv 2107.03374) of whose `samples` `correct` were right."""
    if not 1 <= k <= samples:
        raise ValueError(f"pass@{k} needs at least {k} samples a question, there are {samples}")
    return 1 - comb(samples - correct, k) / comb(samples, k)
