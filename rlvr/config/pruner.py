"""The `pruner` node: when runs are looked at while they train, and which of them end early."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from omegaconf import DictConfig


class PrunerName(StrEnum):
    """`optuna` is the pruner of the study, which Optuna's sweeper brings."""

    none = "none"
    interval = "interval"
    asha = "asha"
    optuna = "optuna"


@dataclass
class PrunerConfig:
    """`looks` are shares of the optimizer steps. What is done with them: `rlvr.pruning`."""

    name: PrunerName = PrunerName.none
    looks: list[float] = field(default_factory=lambda: [0.1, 0.2, 0.35, 0.5])
    questions: int = 128
    reduction: int = 3  # of so many runs one goes on, with asha


def problems(cfg: DictConfig) -> Iterator[str]:
    pruner = cfg.pruner
    if pruner.name is PrunerName.none:
        return
    looks = list(pruner.looks)
    if not looks or looks != sorted(set(looks)) or not 0 < looks[0] <= looks[-1] < 1:
        yield (
            f"pruner.looks={looks}: must be rising shares of the optimizer steps, above 0 and "
            "below 1, such as [0.1,0.25,0.5]"
        )
    if pruner.questions < 1:
        yield f"pruner.questions={pruner.questions}: must be at least 1"
    if pruner.reduction < 2:
        yield f"pruner.reduction={pruner.reduction}: must be at least 2 (of two runs one goes on)"
    if cfg.launcher.get("name") == "sagemaker":
        yield (
            f"pruner={pruner.name.value}: launcher=sagemaker cannot tell a running job what others "
            "have scored; use pruner=none there, or launcher=local or slurm"
        )
    if cfg.eval.split.value == "validation":
        # A choice by the questions that runs are compared on would flatter the winner.
        yield (
            f"pruner={pruner.name.value} looks at validation questions, and eval.split="
            "validation compares the runs on the same: use eval.split=test, or pruner=none"
        )
