"""Which runs are hopeless: decided from what all runs of a sweep have scored while they trained.

A run writes `scores.jsonl` into its directory, a line a look at validation questions. `prune` is a
function of these alone, so that it says the same whoever asks, again after a resume, and in a
simulation. Who is told to end finds `prune.json` beside its scores.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rlvr.config.pruner import PrunerConfig, PrunerName
from rlvr.evaluation.statistics import LEVEL, Interval, wilson
from rlvr.formatting import percent
from rlvr.result import write_atomic

SCORES = "scores.jsonl"
TOLD = "prune.json"
BASE = 0.0  # the share of the steps at which the base model was looked at


@dataclass(frozen=True)
class Look:
    """Accuracy on `n` validation questions with its 95 % interval, after `step` optimizer steps.

    `share` is the configured share of the steps, by which runs are compared; BASE before training.
    """

    share: float
    step: int
    accuracy: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        bounds = f"{percent(self.low)} to {percent(self.high)}"
        return f"{percent(self.accuracy)} % ({bounds})"


@dataclass(frozen=True)
class Pruned:
    """Why a run was ended at `look`: `rule`, and a sentence with the numbers. `against` is the
    number of the run that it was compared with, None for its own base model."""

    rule: str
    reason: str
    look: Look
    against: int | None = None


def read_looks(run: Path) -> list[Look]:
    """In the order of the steps; none where a run was not looked at."""
    file = run / SCORES
    if not file.is_file():
        return []
    return [Look(**json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]


def write_looks(run: Path, looks: Sequence[Look]) -> None:
    write_atomic(run / SCORES, "".join(json.dumps(asdict(look)) + "\n" for look in looks))


def tell(run: Path, pruned: Pruned) -> None:
    """Where the run, on whatever machine shares its directory, will find it."""
    write_atomic(run / TOLD, json.dumps(asdict(pruned), indent=2) + "\n")


def told(run: Path) -> Pruned | None:
    file = run / TOLD
    if not file.is_file():
        return None
    found = json.loads(file.read_text(encoding="utf-8"))
    return Pruned(**{**found, "look": Look(**found["look"])})


def prune(
    settings: PrunerConfig, looks: Mapping[int, Sequence[Look]], running: Sequence[int]
) -> dict[int, Pruned]:
    """Of the `running` runs those that are hopeless, by number.

    `looks` are those of all runs, also of those that have ended. A run is judged by its newest
    look, against what the others scored after the same share of their steps.
    """
    found = {}
    for run in running:
        if not looks.get(run) or looks[run][-1].share == BASE:
            continue
        pruned = below_base(looks[run])
        if pruned is None and settings.name is PrunerName.interval:
            pruned = _below_best(run, looks)
        elif pruned is None and settings.name is PrunerName.asha:
            pruned = _not_promoted(run, looks, settings.reduction)
        if pruned is not None:
            found[run] = pruned
    return found


def below_base(looks: Sequence[Look]) -> Pruned | None:
    """The rule that needs no other run: training has made the model worse than it was."""
    base, newest = looks[0], looks[-1]
    if base.share != BASE or newest.high >= base.low:
        return None
    return Pruned(
        "below its base",
        f"after {_when(newest)} it answers {newest} of the validation questions right, fewer than "
        f"its base model with {base}: the learning rate may be too high",
        newest,
    )


def _below_best(run: int, looks: Mapping[int, Sequence[Look]]) -> Pruned | None:
    """Of many equal runs the luckiest is compared with: the intervals are wider for it."""
    newest = looks[run][-1]
    others = {number: look for number, look in _peers(newest, looks) if number != run}
    if not others:
        return None
    level = LEVEL / len(others)
    low, best = max((_bounds(look, level).low, -number) for number, look in others.items())
    if _bounds(newest, level).high >= low:
        return None
    return _against(-best, "below the best", newest, looks)


def _bounds(look: Look, level: float) -> Interval:
    return wilson(look.accuracy * look.n, look.n, level)


def _not_promoted(run: int, looks: Mapping[int, Sequence[Look]], reduction: int) -> Pruned | None:
    """Asynchronous successive halving (arXiv 1810.05934) in the form that stops runs: of those that
    have come so far the best ones go on, and whose interval reaches the last of these."""
    newest = looks[run][-1]
    ranked = sorted((-look.accuracy, number) for number, look in _peers(newest, looks))
    accuracy, last = ranked[math.ceil(len(ranked) / reduction) - 1]
    if newest.high >= -accuracy:
        return None
    return _against(last, f"not in the best 1/{reduction}", newest, looks)


def _peers(look: Look, looks: Mapping[int, Sequence[Look]]) -> Iterator[tuple[int, Look]]:
    """Number and look of each run that has come as far."""
    for number, theirs in looks.items():
        yield from ((number, other) for other in theirs if other.share == look.share)


def _against(other: int, rule: str, newest: Look, looks: Mapping[int, Sequence[Look]]) -> Pruned:
    theirs = dict(_peers(newest, looks))[other]
    reason = (
        f"after {_when(newest)} it answers {newest} of the validation questions right, run {other} "
        f"{theirs}"
    )
    return Pruned(rule, reason, newest, other)


def _when(look: Look) -> str:
    return f"step {look.step} ({look.share:.0%} of the steps)"
