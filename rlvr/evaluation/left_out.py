"""A run's questions asked without one of its exemplars, each in turn."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rlvr import config
from rlvr.data.prompts import Exemplar, PromptBuilder
from rlvr.errors import UserError
from rlvr.evaluation.command import ask, asker_of, configs_of, run_config
from rlvr.evaluation.score import Score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rlvr.data.load import Splits


@dataclass(frozen=True)
class Asked:
    """One model asked without exemplar `number`, from 1 (None: with all). The rows are
    `evaluations/PHASE.NAME.jsonl` in the run's directory."""

    phase: str
    number: int | None
    exemplar: Exemplar | None
    name: str
    score: Score


def ask_without_each(run: Path, shots: int | None, n: int | None) -> list[Asked]:
    """The base model and the trained one, with all exemplars and without each of them.

    `shots` is how many all are (default: the most that the run was trained with). UserError where
    there are none, or each question has exemplars of its own.
    """
    from rlvr.data.load import load_splits
    from rlvr.data.schedule import ShotSchedule
    from rlvr.evaluation.saved_models import SavedModels
    from rlvr.evaluation.tasks import own_task
    from rlvr.library_noise import quiet_libraries
    from rlvr.verify.build import build_verifier

    count = shots if shots is not None else ShotSchedule.of(run_config(run)).most
    (cfg,) = configs_of(run, [count], n)
    config.validate(cfg)
    splits = load_splits(cfg.dataset, seed=cfg.seed, verifier=build_verifier(cfg.dataset))
    shown = _shown(splits, count)
    quiet_libraries()
    models, whole = SavedModels(run, cfg), own_task(cfg, splits)
    found = []
    for phase in ("base", "trained"):
        asker = asker_of(models, cfg, trained=phase == "trained")
        for number in (None, *range(1, count + 1)):
            builder = PromptBuilder(
                splits.prompts.template, [e for i, e in enumerate(shown, 1) if i != number]
            )
            asked = [{**row, "prompt": builder(row["question"])} for row in whole.questions]
            without = "" if number is None else f"_without_{number}"
            name = f"shots_{count}{without}_n_{cfg.eval.n}"
            how = f"without exemplar {number}" if number else f"with {count} shots"
            score = ask(asker, replace(whole, questions=asked), run, phase, name, how)
            found.append(Asked(phase, number, shown[number - 1] if number else None, name, score))
    return found


def _shown(splits: "Splits", count: int) -> "Sequence[Exemplar]":
    chooser = splits.prompts.chooser
    if not count:
        raise UserError("--leave-one-out: there is no exemplar at 0 shots; add --shots N")
    if not chooser.is_shared:
        raise UserError(
            f"--leave-one-out: with dataset.exemplar_choice={chooser.choice.value} each question "
            "has exemplars of its own, so that none can be left out of all prompts"
        )
    return chooser("", count)
