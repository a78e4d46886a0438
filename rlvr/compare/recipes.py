"""A recipe: the runs that differ in their seed alone, and what they say together."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, stdev
from typing import Any

from rlvr.compare import differences, seeds
from rlvr.compare.answers import Shares
from rlvr.compare.differences import Difference
from rlvr.compare.runs import RunRow, label

SEED = "seed"


@dataclass(frozen=True)
class Recipe:
    """At least one run. `read` is whether the answers to each question may be read from disk."""

    runs: list[RunRow]
    read: bool = True

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

    @property
    def score(self) -> float | None:
        """What the best recipe is chosen by: the mean over the runs that have finished."""
        scores = [run.score for run in self.runs if run.score is not None]
        return fmean(scores) if scores else None

    @cached_property
    def base(self) -> dict[str, Any] | None:
        return self._pooled("base")

    @cached_property
    def trained(self) -> dict[str, Any] | None:
        return self._pooled("trained")

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
        pairs = [
            (self.base_answers[run], self.answers[run])
            for run in self.answers
            if run in self.base_answers
        ]
        if len(pairs) == 1:
            ((base, trained),) = pairs
            return differences.between([trained], [base])
        gains = [{q: trained[q] - base[q] for q in trained if q in base} for base, trained in pairs]
        if not gains or not all(gains):
            return None
        return differences.of_several(seeds.estimate(gains), len(set().union(*gains)))

    @cached_property
    def answers(self) -> dict[int, Shares]:
        """Of the trained models, by run; empty where those of one are not at hand."""
        return self._answers("trained")

    @cached_property
    def base_answers(self) -> dict[int, Shares]:
        return self._answers("base")

    def _answers(self, phase: str) -> dict[int, Shares]:
        evaluated = [run for run in self.runs if self.read and getattr(run, phase)]
        found = {run.index: run.shares(phase) for run in evaluated}
        return found if all(found.values()) else {}

    def _pooled(self, phase: str) -> dict[str, Any] | None:
        """One run's score, or the mean of several with the interval of `rlvr.compare.seeds`."""
        scores = [score for run in self.runs if (score := getattr(run, phase))]
        if len(scores) < 2:
            return scores[0] if scores else None
        answers = self.answers if phase == "trained" else self.base_answers
        return pooled(scores, list(answers.values()))


def pooled(scores: Sequence[dict[str, Any]], answers: Sequence[Shares]) -> dict[str, Any]:
    """The mean of scores; without answers, as if all seeds knew the same questions.

    Then what one seed tells of another's questions is least, so that the interval is too wide
    rather than too narrow.
    """
    found = seeds.estimate(answers or [_alike(score) for score in scores])
    interval = seeds.accuracy_interval(found)
    accuracies = [score["accuracy"] for score in scores]
    return {
        "accuracy": fmean(accuracies),
        "low": interval.low,
        "high": interval.high,
        "n": len(found.errors),
        "format_rate": mean_of(scores, "format_rate"),
        "well_formed_accuracy": mean_of(scores, "well_formed_accuracy"),
        "deviation": stdev(accuracies),
        "accuracies": accuracies,
    }


def mean_of(scores: Sequence[dict[str, Any]], part: str) -> float | None:
    known = [score[part] for score in scores if score.get(part) is not None]
    return fmean(known) if known else None


def _alike(score: dict[str, Any]) -> Shares:
    right = score["accuracy"] * score["n"]
    return {str(place): min(1.0, max(0.0, right - place)) for place in range(score["n"])}


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
