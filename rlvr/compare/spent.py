"""What a percentage point of accuracy took: time and money of a recipe by its gain."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from rlvr.compare.recipes import Recipe


@dataclass(frozen=True)
class Spent:
    """Means over the runs of a recipe that were trained. `low` and `high` are the ends of the 95 %
    interval of `points`, None where the answers to each question are not at hand."""

    recipe: Recipe
    points: float
    low: float | None
    high: float | None
    seconds: float | None
    cost: float | None  # in dollars

    def a_point(self, amount: float | None) -> tuple[float, float | None, float | None] | None:
        """`amount` by the points it bought, and the ends of that.

        None without a gain. Without an upper end no gain at all is within the interval.
        """
        if amount is None or self.points <= 0:
            return None
        if self.low is None or self.high is None:
            return amount / self.points, None, None
        most = amount / self.low if self.low > 0 else None
        return amount / self.points, amount / self.high, most


def spent(recipes: Sequence[Recipe]) -> list[Spent]:
    """Of the recipes whose gain is known."""
    return [_spent(recipe, recipe.points) for recipe in recipes if recipe.points is not None]


def _spent(recipe: Recipe, points: float) -> Spent:
    results = [run.result for run in recipe.runs if run.result and run.points is not None]
    seconds = [result.seconds for result in results if result.seconds is not None]
    costs = [result.cost for result in results if result.cost is not None]
    return Spent(
        recipe,
        points,
        100 * recipe.gain.low if recipe.gain else None,
        100 * recipe.gain.high if recipe.gain else None,
        fmean(seconds) if seconds else None,
        fmean(costs) if costs else None,
    )
