"""Looks at a model while it trains, on validation questions, for a pruner to decide by.

They leave no trace in training: weights, draws and logs are the same with and without them.
"""

import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from accelerate.utils import broadcast_object_list

from rlvr import pruning, ranks
from rlvr.config.pruner import PrunerConfig
from rlvr.evaluation.evaluate import Asker, evaluate
from rlvr.evaluation.score import score
from rlvr.evaluation.tasks import Task
from rlvr.pruning import BASE, Look, Pruned
from rlvr.random_states import random_state, set_random_state
from rlvr.tracking import Tracker

log = logging.getLogger(__name__)


class Looks:
    """`asker` asks the model as it is, as in the evaluation before training, but one sample each.

    `steps` is how many the run has. All ranks must look together.
    """

    def __init__(
        self,
        settings: PrunerConfig,
        asker: Asker,
        task: Task,
        run_dir: Path,
        tracker: Tracker,
        steps: int,
    ) -> None:
        self.asker, self.task = replace(asker, k=1), task
        self.run_dir, self.tracker = run_dir, tracker
        # The last share that falls on a step, where there are fewer steps than looks.
        self.due = {max(1, math.ceil(share * steps)): share for share in settings.looks}
        self.taken = {look.step: look for look in pruning.read_looks(run_dir)}
        self.pruned: Pruned | None = None

    def at_base(self, root: Path) -> None:
        """Before training; what a base model answers is shared with other runs, below `root`."""
        self._take(BASE, 0, self.asker, root)

    def pruned_at(self, step: int) -> bool:
        """At the end of each step: whether the run is to be ended here."""
        if step in self.due:
            random = random_state()
            # Within a run the step says which weights these are, to the last bit.
            asker = replace(self.asker, identity={"looked at after step": step})
            self._take(self.due[step], step, asker, self.run_dir / "evaluations" / "answers")
            set_random_state(random)
            self.pruned = pruning.below_base(self._until(step))
        if self.pruned is None:
            (self.pruned,) = broadcast_object_list([pruning.told(self.run_dir)])
        return self.pruned is not None

    def _take(self, share: float, step: int, asker: Asker, root: Path) -> None:
        file = self.run_dir / "evaluations" / f"{self.task.name}_{step}.jsonl"
        file.parent.mkdir(exist_ok=True)
        found = score(evaluate(asker, self.task, root=root, file=file))
        look = Look(share, step, found.accuracy, found.low, found.high, found.n)
        if self.taken.get(step) != look:
            self.taken[step] = look
            if ranks.is_main():
                pruning.write_looks(self.run_dir, self._until(max(self.taken)))
                self.tracker.log_metrics(_metrics(look), step)
                log.info("validation, step %d: %s", step, look)

    def _until(self, step: int) -> list[Look]:
        return [self.taken[at] for at in sorted(self.taken) if at <= step]


def _metrics(look: Look) -> Mapping[str, float]:
    return {f"validation/{part}": getattr(look, part) for part in ("accuracy", "low", "high")}
