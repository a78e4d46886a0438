"""The prompts of a step, built when its completions are sampled."""

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from rlvr.data.rollout_prompts import Prompts

if TYPE_CHECKING:
    from rlvr.training.trainer import Trainer

Row = dict[str, Any]


def of_this_step(trainer: "Trainer", prompts: Prompts, rows: Sequence[Row]) -> list[Row]:
    """This process's rows, `trainer.num_generations` of each question, with the prompts of the
    optimizer step to come. Also logs the mean number of shots, `train/shots`."""
    step, steps = trainer.state.global_step, trainer.state.max_steps
    first = trainer.accelerator.process_index * len(rows)
    groups = [(first + place) // trainer.num_generations for place in range(len(rows))]
    trainer._log_metric("shots", fmean(prompts.shots(step, steps, group) for group in groups))
    return [
        {**row, "prompt": prompts.trained(row["question"], step, steps, group)}
        for row, group in zip(rows, groups, strict=True)
    ]
