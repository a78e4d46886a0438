"""How many optimizer steps a run takes, and how many completions it samples for them."""

import math
from dataclasses import dataclass

from omegaconf import DictConfig

from rlvr.errors import UserError


@dataclass(frozen=True)
class Steps:
    """Optimizer steps of a run, completions in each, and completions sampled in all."""

    count: int
    completions: int
    rollouts: int


def planned_steps(cfg: DictConfig, train_rows: int) -> Steps:
    """As TRL counts them: questions that fill no generation batch are left out.

    Raises UserError where epochs are no measure.
    """
    if problem := too_few_rows(cfg, train_rows):
        raise UserError(f"dataset: {problem}")
    return _count(cfg, train_rows)


def _count(cfg: DictConfig, train_rows: int) -> Steps:
    t = cfg.trainer
    sampled = t.batch_size * t.optimizer_steps_per_generation  # at once
    uses = t.optimizer_steps_per_generation * t.num_iterations  # optimizer steps that take them
    per_epoch = max(1, train_rows // (sampled // t.num_generations)) * uses
    count = t.max_steps if t.max_steps > 0 else math.ceil(per_epoch * t.num_train_epochs)
    return Steps(count, t.batch_size, math.ceil(count / uses) * sampled)


def too_few_rows(cfg: DictConfig, train_rows: int) -> str | None:
    """Why epochs do not say how long to train on fewer questions than are sampled at once."""
    t = cfg.trainer
    sampled = t.batch_size * t.optimizer_steps_per_generation // t.num_generations
    if t.max_steps > 0 or train_rows >= sampled:
        return None
    questions = "1 training question does" if train_rows == 1 else f"{train_rows} do"
    return (
        f"{questions} not fill the {sampled} that are sampled at once, so trainer.num_train_epochs="
        f"{t.num_train_epochs:g} would be {_count(cfg, train_rows).count} optimizer steps: set "
        "trainer.max_steps=N (arXiv 2504.20571 trains one example for about 2000)"
    )
