"""Which of a GPU's attentions the update takes: the fastest of those that are exact here.

All are tried in the first optimizer step, on its first micro-batch. They differ in rounding, so
the choice is written down, and a run that is resumed or repeated takes the same.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rlvr.errors import UserError
from rlvr.prefix.kinds import Attentions, told
from rlvr.result import write_atomic
from rlvr.training.shared_prefix.choice import CLEARLY
from rlvr.training.shared_prefix.scoring import PackedScorer
from rlvr.training.shared_prefix.selfcheck import WAY_OUT, Reference, Rows, gradient
from rlvr.training.shared_prefix.timing import clock

log = logging.getLogger(__name__)

# Of one attention: `failed` is what it has raised, `differences` are [ours, two stock attentions'],
# `seconds` a row.
Trial = dict[str, Any]


class AttentionChoice:
    """`made` is {"order": the attention that is used and those in reserve, "tried": by name}.

    `records` are the files that may know it, the first of them is the run's own.
    """

    def __init__(self, attentions: Attentions, records: Sequence[Path]) -> None:
        self.attentions, self.records = attentions, records
        known = next((file for file in records if file.exists()), None)
        self.made: dict[str, Any] | None = json.loads(known.read_text("utf-8")) if known else None
        self.open = len(attentions.kinds) > 1

    def take(self, made: dict[str, Any] | None) -> None:
        """The choice of an earlier run, where this machine has what it names."""
        usable = made and any(name in self.attentions.kinds for name in made["order"])
        self.made = made if self.open and usable else None
        if self.made is not None:
            self.attentions.order(self.made["order"])
            self.open = False

    def settle(self, trials: Sequence[dict[str, Trial] | None]) -> None:
        """By what each rank has found; None where one had no rows to try with."""
        found = [trial for trial in trials if trial is not None]
        if not found:
            return
        tried = {name: _of_all([trial[name] for trial in found]) for name in found[0]}
        for name, trial in tried.items():
            log.info("trainer.shared_prefix: %s attention: %s", name, json.dumps(trial))
        exact = {name: trial["seconds"] for name, trial in tried.items() if "seconds" in trial}
        if not exact:
            reasons = "; ".join(f"{name}: {trial['failed']}" for name, trial in tried.items())
            raise UserError(
                f"trainer.self_check: no attention is exact here ({reasons}): {WAY_OUT}"
            )
        fast = CLEARLY * min(exact.values())
        chosen = next(name for name, seconds in exact.items() if seconds <= fast)
        order = [chosen, *(name for name in exact if name != chosen)]
        self.made = {"order": order, "tried": tried}
        self.attentions.order(order)
        self.open = False
        log.info("trainer.shared_prefix: %s attention is used", chosen)

    def note_failures(self, failed: dict[str, str]) -> bool:
        """Whether attentions, of any rank, have failed since this was last asked."""
        if self.made is None:
            return False
        order, tried = self.made["order"], self.made["tried"]
        new = [name for name in failed if name in order]
        for name in new:
            tried.setdefault(name, {})["failed"] = failed[name]
            if len(order) > 1:
                order.remove(name)
        self.attentions.order(order)
        return bool(new)

    def write(self) -> None:
        for file in self.records:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(file, json.dumps(self.made, indent=2) + "\n")


def _of_all(trials: list[Trial]) -> Trial:
    """One rank's failure is everybody's, and all wait for the slowest."""
    failed = [trial for trial in trials if "failed" in trial]
    return failed[0] if failed else max(trials, key=lambda trial: trial["seconds"])


def compared(scorer: PackedScorer, reference: Reference, once: bool) -> dict[str, Trial]:
    """Each of the scorer's attentions with the plain path."""
    return {name: _compared(scorer, reference, once) for name in _each(scorer)}


def _compared(scorer: PackedScorer, reference: Reference, once: bool) -> Trial:
    trial: Trial = {"differences": {}}
    try:
        for what, difference in reference.differences(scorer, once):
            trial["differences"][what] = [difference.ours, difference.rounding]
            if not difference.is_rounding:
                return {**trial, "failed": f"{what} differ from the plain path by {difference}"}
    except Exception as error:  # of a kernel or its compiler: another attention may do
        return {**trial, "failed": told(error)}
    return trial


def timed(scorer: PackedScorer, model: Any, rows: Rows, trials: dict[str, Trial]) -> None:
    """Adds the seconds that a row takes, forward and backward, with each that has not failed."""
    for name in _each(scorer):
        if "failed" in trials.setdefault(name, {}):
            continue
        try:
            trials[name]["seconds"] = _seconds(scorer, model, rows) / len(rows)
        except Exception as error:
            trials[name]["failed"] = told(error)


def _seconds(scorer: PackedScorer, model: Any, rows: Rows) -> float:
    """Of the second time: the first one compiles."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    forwarded, taken = scorer.forwarded, 0.0
    for _ in range(2):
        start = clock()
        logps = scorer.score(model, rows.ids, rows.mask, rows.width)[0]
        gradient((logps * rows.weights).sum(), parameters)
        taken = clock() - start
    scorer.forwarded = forwarded
    return taken


def _each(scorer: PackedScorer) -> Iterator[str]:
    """Names of the scorer's attentions; while a name is out, the scorer has that one alone."""
    attentions = scorer.kind
    assert isinstance(attentions, Attentions)
    try:
        for name, kind in attentions.kinds.items():
            scorer.kind = kind
            yield name
    finally:
        scorer.kind = attentions
