"""What the runs of one recipe say together, when they differ in nothing but their seed.

Two things make their mean uncertain: other questions could have been asked, and other seeds could
have been drawn. Questions are clusters: what a question adds to the mean's error is summed over the
seeds that asked it, and its square is the variance (so it does not matter whether all seeds asked
the same questions). To it comes the variance between seeds, less the part that the questions
explain. Two or three seeds hardly tell it, so it is pooled over the recipes of a comparison, and
the quantile is Student's with Satterthwaite's (1946) degrees of freedom.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import NormalDist, fmean
from typing import Any

from rlvr.compare.answers import Shares
from rlvr.evaluation.statistics import LEVEL, POWER, Interval, wilson

UNKNOWN = 0.25  # the greatest variance of a share: of a single question
OUTLYING = 0.01  # p of the F test below which a recipe's seeds lie further apart than the others'


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds, of `n` questions. `errors` is what each question adds to its error and
    `within` their variance; `apart` is the variance between the seeds' own means, and `explained`
    the part of that which the questions explain.

    `pools` holds the variance of the mean by seeds as the recipes of each pool show it, what the
    questions explain still in it, and its degrees of freedom; `between` is without that part.
    """

    mean: float
    n: int
    within: float
    errors: Mapping[str, float] = field(default_factory=dict)
    seeds: int = 1
    apart: float = 0.0
    explained: float = 0.0
    between: float = 0.0
    pools: Mapping[int, tuple[float, int]] = field(default_factory=dict)

    @property
    def variance(self) -> float:
        return self.within + self.between

    @property
    def freedom(self) -> float:
        parts = [(self.within, max(1, self.n - 1)), *self.pools.values()]
        total = sum(part**2 / freedom for part, freedom in parts)
        # less than one where the questions explain nearly all that lies between the seeds
        return max(1.0, self.variance**2 / total) if self.variance else parts[0][1]


def estimate(seeds: Sequence[Shares]) -> Estimate:
    """Of at least one seed, each with at least one question; all seeds weigh the same."""
    count, means = len(seeds), [fmean(shares.values()) for shares in seeds]
    errors: defaultdict[str, float] = defaultdict(float)
    for shares, mean in zip(seeds, means, strict=True):
        for question, share in shares.items():
            errors[question] += (share - mean) / (count * len(shares))
    found = Estimate(fmean(means), len(errors), _squares(errors), errors, count)
    if count == 1:
        return found
    alone = [estimate([shares]).within for shares in seeds]
    explained = (sum(alone) - count * found.within) / (count - 1)
    return replace(found, apart=_variance(means), explained=explained)


def estimate_from_scores(scores: Sequence[Mapping[str, Any]]) -> Estimate:
    """Where the answers are not at hand: as if every seed knew the same questions. What one seed
    tells of another is most then, so that an interval is too wide rather than too narrow."""
    means, n = [score["accuracy"] for score in scores], max(score["n"] for score in scores)
    mean = fmean(means)
    within = mean * (1 - mean) / (n - 1) if n > 1 else UNKNOWN
    return Estimate(mean, n, within, seeds=len(means), apart=_variance(means))


def _squares(errors: Mapping[str, float]) -> float:
    n = len(errors)
    return sum(e * e for e in errors.values()) * n / (n - 1) if n > 1 else UNKNOWN


def _variance(values: Sequence[float]) -> float:
    """`statistics.variance` is exact and slow."""
    mean = fmean(values)
    return sum((value - mean) ** 2 for value in values) / max(1, len(values) - 1)


def pool(recipes: Sequence[Estimate]) -> list[Estimate]:
    """The same with the variance between seeds, which is taken to be that of all recipes.

    A recipe whose seeds lie much further apart than those of the others, as where training breaks
    down with some of them, keeps its own. One with a single seed has that of the others.
    """
    together = sorted((r for r in recipes if r.seeds > 1), key=lambda r: r.apart)
    outlying = []
    while len(together) > 1 and _stands_out(together[-1], together[:-1]):
        outlying.append(together.pop())
    pools = [together, *([recipe] for recipe in outlying)]
    numbers = {id(recipe): number for number, members in enumerate(pools) for recipe in members}
    places = [numbers.get(id(recipe), 0) for recipe in recipes]
    return [
        _with_variance(recipe, pools[place], place)
        for recipe, place in zip(recipes, places, strict=True)
    ]


def _stands_out(recipe: Estimate, others: Sequence[Estimate]) -> bool:
    from scipy.special import fdtrc

    usual, freedom = _mean_of(others, "apart")
    return bool(usual == 0 or fdtrc(recipe.seeds - 1, freedom, recipe.apart / usual) < OUTLYING)


def _mean_of(recipes: Sequence[Estimate], part: str) -> tuple[float, int]:
    """With the degrees of freedom by which it is weighted."""
    freedom = sum(recipe.seeds - 1 for recipe in recipes)
    return sum((r.seeds - 1) * getattr(r, part) for r in recipes) / freedom, freedom


def _with_variance(recipe: Estimate, source: Sequence[Estimate], number: int) -> Estimate:
    if not source:
        return recipe
    (apart, freedom), (explained, _) = (_mean_of(source, part) for part in ("apart", "explained"))
    between = max(0.0, apart - explained) / recipe.seeds
    return replace(recipe, between=between, pools={number: (apart / recipe.seeds, freedom)})


def difference(ours: Estimate, theirs: Estimate) -> Estimate:
    """Ours less theirs, of one call of `pool`; what a question adds to both cancels."""
    questions = {**ours.errors, **theirs.errors}
    errors = {q: ours.errors.get(q, 0.0) - theirs.errors.get(q, 0.0) for q in questions}
    pools = {
        number: (
            sum(side.pools.get(number, (0.0, 0))[0] for side in (ours, theirs)),
            {**theirs.pools, **ours.pools}[number][1],
        )
        for number in {**ours.pools, **theirs.pools}
    }
    return Estimate(
        mean=ours.mean - theirs.mean,
        n=len(errors),
        within=_squares(errors),
        errors=errors,
        between=ours.between + theirs.between,
        pools=pools,
    )


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
    effective = float(found.n)
    if 0 < mean < 1 and found.variance:
        effective = mean * (1 - mean) / found.variance
    effective *= (z / _student(1 - LEVEL / 2, found.freedom)) ** 2
    return wilson(mean * effective, effective)


def _student(probability: float, freedom: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, probability))
