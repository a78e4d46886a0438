"""A recipe: the runs that differ in their seed alone, and what they say together."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate, product
from statistics import fmean
from typing import Any

from rlvr.compare import differences, seeds
from rlvr.compare.answers import Shares
from rlvr.compare.differences import Difference
from rlvr.compare.runs import RunRow, label

SEED = "seed"
GAIN = "gain"


@dataclass(frozen=True)
class Recipe:
    """At least one run. `read` is whether the answers to each question may be read from disk;
    `estimates` are there where any recipe has several seeds."""

    runs: list[RunRow]
    read: bool = True
    estimates: dict[str, seeds.Estimate] = field(default_factory=dict)

    @property
    def index(self) -> int:
        """Of its first run."""
        return self.runs[0].index

    @property
    def numbers(self) -> str:
        """Of its runs: `3`, `0-2` or `0,4,8`."""
        found = [run.index for run in self.runs]
        if len(found) > 2 and found == list(range(found[0], found[-1] + 1)):
            return f"{found[0]}-{found[-1]}"
        return ",".join(map(str, found))

    @property
    def name(self) -> str:
        """`run 3`, `runs 0-2`."""
        return f"run{'s' if len(self.runs) > 1 else ''} {self.numbers}"

    @property
    def varied(self) -> dict[str, Any]:
        found = self.runs[0].varied
        return {k: v for k, v in found.items() if k != SEED} if len(self.runs) > 1 else found

    def label(self) -> str:
        return label(self.varied) or ("" if len(self.runs) > 1 else self.runs[0].name)

    @property
    def title(self) -> str:
        """`run 3 (shots=4, lr=1e-5)`."""
        return f"{self.name} ({self.label()})" if self.label() else self.name

    @property
    def state(self) -> str:
        """Of its runs, each state once."""
        return ", ".join(dict.fromkeys(run.progress or run.state for run in self.runs))

    @cached_property
    def score(self) -> float | None:
        """What the best recipe is chosen by: the mean over the runs that have finished."""
        scores = [run.score for run in self.runs if run.score is not None]
        return fmean(scores) if scores else None

    @cached_property
    def base(self) -> dict[str, Any] | None:
        return self._together("base")

    @cached_property
    def trained(self) -> dict[str, Any] | None:
        """One run's score, or the mean of several with the interval of `rlvr.compare.seeds`."""
        return self._together("trained")

    @property
    def points(self) -> float | None:
        """Gain in percentage points, the mean of its runs."""
        gains = [run.points for run in self.runs if run.points is not None]
        return fmean(gains) if gains else None

    @property
    def p_value(self) -> float | None:
        """Trained against base."""
        if len(self.runs) == 1:
            return self.runs[0].p_value
        return self.gain.p_value if self.gain else None

    @cached_property
    def gain(self) -> Difference | None:
        """Trained less base; None where the answers to each question are not at hand."""
        if GAIN in self.estimates and len(self.runs) > 1:
            found = self.estimates[GAIN]
            return differences.of_seeds(found, found.n)
        pairs = [(trained, base) for trained, base in self._pairs() if trained and base]
        return differences.of_pairs(*pairs[0]) if len(pairs) == 1 else None

    @cached_property
    def answers(self) -> list[Shares]:
        """Of the trained models, a run each; empty where those of one are not at hand."""
        return self._answers("trained")

    def estimate(self, of: str) -> seeds.Estimate | None:
        """Of `base`, `trained` or GAIN, with the seeds' variance not yet known."""
        if of == GAIN:
            gains = [
                {
                    question: trained[question] - base[question]
                    for question in trained
                    if question in base
                }
                for trained, base in self._pairs()
            ]
            return seeds.estimate(gains) if gains and all(gains) else None
        scores = [score for run in self.runs if (score := getattr(run, of))]
        answers = self.answers if of == "trained" else self._answers(of)
        if not scores:
            return None
        return seeds.estimate(answers) if answers else seeds.estimate_from_scores(scores)

    def _pairs(self) -> list[tuple[Shares, Shares]]:
        """Trained and base answers of each run that has both."""
        both = [run for run in self.runs if run.trained and run.base and self.read]
        return [(run.shares("trained"), run.shares("base")) for run in both]

    def _answers(self, phase: str) -> list[Shares]:
        found = [run.shares(phase) for run in self.runs if self.read and getattr(run, phase)]
        return found if all(found) else []

    def _together(self, phase: str) -> dict[str, Any] | None:
        scores = [score for run in self.runs if (score := getattr(run, phase))]
        if len(scores) < 2:
            return scores[0] if scores else None
        found = self.estimates[phase]
        interval = seeds.accuracy_interval(found)
        accuracies = [score["accuracy"] for score in scores]
        return {
            "accuracy": fmean(accuracies),
            "low": interval.low,
            "high": interval.high,
            "n": found.n,
            "format_rate": _mean(scores, "format_rate"),
            "well_formed_accuracy": _mean(scores, "well_formed_accuracy"),
            "deviation": found.apart**0.5,
            "pass_at_k": _mean_pass_at_k(scores),
            "accuracies": accuracies,
        }


def _mean(scores: Sequence[dict[str, Any]], part: str) -> float | None:
    known = [score[part] for score in scores if score.get(part) is not None]
    return fmean(known) if known else None


def _mean_pass_at_k(scores: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Of the numbers of samples that all runs have."""
    found = [score.get("pass_at_k", {}) for score in scores]
    return {k: fmean(each[k] for each in found) for k in found[0] if all(k in e for e in found)}


def recipes_of(rows: Sequence[RunRow], most: int) -> list[Recipe]:
    """In the order of their first runs. Of the best, `most` runs in all, each answer is read."""
    recipes = [Recipe(runs) for runs in group(rows)]
    best = ranked(recipes)
    counts = accumulate(len(recipe.runs) for recipe in best)
    read = {recipe.index for recipe, count in zip(best, counts, strict=True) if count <= most}
    recipes = [replace(recipe, read=recipe.index in read) for recipe in recipes]
    if any(len(recipe.runs) > 1 for recipe in recipes):
        for of, alike in product(("base", "trained", GAIN), (True, False)):
            _pool([recipe for recipe in recipes if recipe.read == alike], of)
    return recipes


def _pool(recipes: Sequence[Recipe], of: str) -> None:
    found = [(recipe, estimate) for recipe in recipes if (estimate := recipe.estimate(of))]
    for (recipe, _), pooled in zip(found, seeds.pool([e for _, e in found]), strict=True):
        recipe.estimates[of] = pooled


def ranked(recipes: Sequence[Recipe]) -> list[Recipe]:
    """Those with a score, the highest first."""
    scored = [recipe for recipe in recipes if recipe.score is not None]
    return sorted(scored, key=lambda recipe: (-(recipe.score or 0.0), recipe.index))


def group(rows: Sequence[RunRow]) -> list[list[RunRow]]:
    """Runs whose settings differ in the seed alone; a seed that comes again is another recipe."""
    groups: dict[str, list[RunRow]] = {}
    for row in rows:
        key = label({k: v for k, v in row.varied.items() if k != SEED})
        times = 0
        while any(other.seed == row.seed for other in groups.get(f"{key}\n{times}", [])):
            times += 1
        groups.setdefault(f"{key}\n{times}", []).append(row)
    return list(groups.values())
