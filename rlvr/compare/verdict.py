"""The conclusion that the numbers allow, in plain sentences."""

from rlvr.compare.comparison import Comparison, Rival
from rlvr.compare.differences import Difference
from rlvr.compare.names import shown
from rlvr.compare.recipes import Recipe
from rlvr.evaluation.statistics import LEVEL
from rlvr.formatting import p_value, percent

LISTED = 8  # runs named in one sentence
FORMAT_CHANGE = 0.05  # of the share of well-formed answers, from which on it is told


def verdict(comparison: Comparison) -> str:
    """A sentence or two a line: the best recipe, its gain, and what it can be told from."""
    best = comparison.best
    if best is None:
        return "No run has finished yet, so there is nothing to judge."
    if not best.trained:
        return f"Best is {best.title} with {shown(best.score)}."
    lines = [_best(comparison, best), _chance(comparison, best), *_format(best)]
    if len([recipe for recipe in comparison.recipes if recipe.trained]) > 1:
        lines += _rivals(comparison, best)
    return "\n".join(line for line in lines if line)


def _best(comparison: Comparison, best: Recipe) -> str:
    assert best.trained
    first = f"Best is {best.title}" if len(comparison.recipes) > 1 else best.title.capitalize()
    gain = f", {best.points:+.1f} points{_bounds(best.gain)} on the base model" if best.base else ""
    return (
        f"{first}: {percent(best.trained['accuracy'])} % of the answers are right after "
        f"training{gain}; n = {best.trained['n']} questions, {_seeds(best)}."
    )


def _bounds(found: Difference | None) -> str:
    if found is None:
        return ""
    return f" (95 % interval {100 * found.low:+.1f} to {100 * found.high:+.1f})"


def _seeds(recipe: Recipe) -> str:
    if not recipe.trained or "accuracies" not in recipe.trained:
        return "one seed"
    found = recipe.trained["accuracies"]
    return f"{len(found)} seeds from {percent(min(found))} to {percent(max(found))} %"


def _chance(comparison: Comparison, best: Recipe) -> str:
    """Whether training did anything, or the draw of the questions."""
    if (p := comparison.gain_p_values.get(best.index)) is None or best.points is None:
        return ""
    many = len(comparison.gain_p_values)
    family = f", corrected for {many} recipes (Holm)" if many > 1 else ""
    if p < LEVEL:
        shows = (
            "The gain is more than chance" if best.points > 0 else "The loss is more than chance"
        )
    else:
        shows = "It cannot be told from the base model"
    return f"{shows}: {told(p)}{family}."


def told(p: float) -> str:
    """`p = 0.03`, `p < 0.001`."""
    text = p_value(p)
    return f"p {text[0]} {text[1:]}" if text.startswith("<") else f"p = {text}"


def _format(best: Recipe) -> list[str]:
    """A gain that comes with the form of the answers may be that alone."""
    if not format_changed(best):
        return []
    assert best.base
    assert best.trained
    before, after = (score["format_rate"] for score in (best.base, best.trained))
    line = f"Well-formed answers went from {percent(before)} to {percent(after)} %"
    before, after = (score.get("well_formed_accuracy") for score in (best.base, best.trained))
    if not (before is None or after is None):
        line += f"; of these {percent(before)} % were right before and {percent(after)} % after"
    return [f"{line}."]


def format_changed(recipe: Recipe) -> bool:
    before, after = ((score or {}).get("format_rate") for score in (recipe.base, recipe.trained))
    return before is not None and after is not None and abs(after - before) >= FORMAT_CHANGE


def _rivals(comparison: Comparison, best: Recipe) -> list[str]:
    rivals = comparison.rivals
    if not rivals:
        return [
            "Whether it can be told from the others is not known: the answers to each question "
            "(evaluations/) of the best two are not here, or have no question in common."
        ]
    following, *rest = rivals
    lines = [_following(following)]
    if near := [rival.recipe for rival in rest if not rival.told_apart]:
        listed = "; ".join(recipe.numbers for recipe in near[:LISTED])
        more = f" and {len(near) - LISTED} more" if len(near) > LISTED else ""
        nor = "Nor can it" if not following.told_apart else "It cannot"
        lines.append(f"{nor} be told from runs {listed}{more}.")
    n, smallest = following.difference.n, comparison.detectable
    if smallest is None:
        return [*lines, f"{n} questions are too few to show any difference."]
    shows = f"A true difference of {100 * smallest:.1f} points between two would be shown by"
    return [*lines, f"{shows} 4 of 5 such comparisons on {n} questions (p < 0.05, uncorrected)."]


def _following(rival: Rival) -> str:
    found = rival.difference
    says = "is better than" if rival.told_apart else "cannot be told from"
    return (
        f"It {says} the next best, {rival.recipe.title}: {100 * found.mean:+.1f} points"
        f"{_bounds(found)}, {told(rival.p_value)}."
    )
