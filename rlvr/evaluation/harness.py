"""`rlvr evaluate RUN --harness lm_eval --tasks gsm8k`: a trained model by lm-evaluation-harness."""

import importlib.util
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr.errors import UserError, nearest
from rlvr.evaluation.command import run_config
from rlvr.evaluation.saved_models import SavedModels
from rlvr.result import write_atomic

if TYPE_CHECKING:
    from lm_eval.tasks import TaskManager

FILE = "lm_eval"  # below evaluations/ of the run: .json, and .TASK.jsonl of each question
SETTINGS = ("results", "groups", "configs", "versions", "n-shot", "higher_is_better", "n-samples")


def run_lm_eval(
    runs: Sequence[Path], tasks: Sequence[str], limit: int | None, include_path: Path | None
) -> None:
    """Ask each run's trained model the tasks as lm_eval does: its prompts, shots, stops, filters.

    `limit` is the number of questions of each task; `include_path` a folder with further tasks.
    Prints lm_eval's table and writes its result into the run's directory. UserError where lm_eval
    or a task is missing, or a task's data cannot be had.
    """
    if importlib.util.find_spec("lm_eval") is None:
        raise UserError("lm_eval is not installed: pip install 'rlvr[lm-eval]'")
    from lm_eval.tasks import TaskManager

    configs = [(run, run_config(run)) for run in runs]
    _quiet()
    manager = TaskManager(include_path=str(include_path) if include_path else None)
    _check_tasks(tasks, manager)
    for run, cfg in configs:
        _report(run, _evaluate(SavedModels(run, cfg), cfg.eval.batch_size, tasks, limit, manager))


def _quiet() -> None:
    from rlvr.library_noise import quiet_libraries

    quiet_libraries()
    logging.getLogger("lm_eval").setLevel(logging.ERROR)  # it warns of a model that is not a name


def _check_tasks(tasks: Sequence[str], manager: "TaskManager") -> None:
    for name in tasks:
        if not manager.match_tasks([name]):
            raise UserError(
                f"--tasks {name}: lm_eval has no such task{nearest(name, manager.all_tasks)} "
                "(--include-path DIR adds tasks of your own)"
            )


def _evaluate(
    models: SavedModels,
    batch_size: int,
    tasks: Sequence[str],
    limit: int | None,
    manager: "TaskManager",
) -> dict[str, Any]:
    """The very model that `rlvr evaluate` asks: base, adapter, precision and device as trained."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    with models.lend(trained=True) as model:
        asked = HFLM(pretrained=model, tokenizer=models.tokenizer, batch_size=batch_size)
        try:
            found = simple_evaluate(
                model=asked, tasks=list(tasks), limit=limit, task_manager=manager, random_seed=0
            )
        except (ConnectionError, FileNotFoundError) as error:  # what datasets raises without a hub
            raise UserError(
                f"--tasks {','.join(tasks)}: the data could not be had: "
                f"{str(error).strip().splitlines()[0]}\n  Without network, describe a task over "
                "your own files and name its folder: --include-path DIR (docs/evaluation.md)"
            ) from error
    assert found is not None  # only processes of a higher rank get none
    return dict(found)


def _report(run: Path, found: dict[str, Any]) -> None:
    from lm_eval.utils import handle_non_serializable, make_table

    folder = run / "evaluations"
    folder.mkdir(exist_ok=True)
    kept = {part: found[part] for part in SETTINGS if part in found}
    text = json.dumps(kept, indent=2, ensure_ascii=False, default=handle_non_serializable)
    write_atomic(folder / f"{FILE}.json", text + "\n")
    for task, rows in found.get("samples", {}).items():
        lines = [json.dumps(r, ensure_ascii=False, default=handle_non_serializable) for r in rows]
        write_atomic(folder / f"{FILE}.{task}.jsonl", "\n".join(lines) + "\n")
    print(f"run {run.name}")
    print(make_table(found))
    print(f"lm_eval's result: {folder / f'{FILE}.json'}")
