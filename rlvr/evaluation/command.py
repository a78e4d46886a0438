"""`rlvr evaluate RUN --shots 0,2,4,8`: trained models and their base asked with other shots."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from rlvr import config
from rlvr.config.schema import Schedule
from rlvr.data.schedule import ShotSchedule
from rlvr.digests import digest
from rlvr.errors import UserError
from rlvr.evaluation.score import Score, score
from rlvr.paths import output_dir

if TYPE_CHECKING:
    from rlvr.evaluation.evaluate import Asker
    from rlvr.evaluation.saved_models import SavedModels
    from rlvr.evaluation.tasks import Task


@dataclass(frozen=True)
class Cell:
    """One model asked with one number of shots: that of a run, or the base model of several."""

    runs: tuple[str, ...]
    train_shots: int | None  # None: not trained
    eval_shots: int
    score: Score
    schedule: str | None = None  # where the shots moved while it was trained


def runs_of(target: str) -> tuple[Path, list[Path]]:
    """The directory of a run or a sweep (by its name too, or `last`), and its finished runs."""
    from rlvr import manifest
    from rlvr.states import State

    directory = manifest.locate(target, output_dir() / "sweeps")
    if not (directory / manifest.FILE).is_file():
        return directory, [directory]
    jobs = manifest.load(directory).jobs
    found = [directory / job.dir for job in jobs if job.state is State.finished]
    if not found:
        raise UserError(f"no run of {directory} is finished; see rlvr compare {directory}")
    return directory, found


def evaluate_runs(runs: Sequence[Path], shots: Sequence[int] | None, n: int | None) -> list[Cell]:
    """Base models, then every run, with every number of shots (default: its own).

    What has been answered before is asked of no model, and no model is loaded for it: the answers
    of base models are shared with all runs, those of trained ones are kept below their run.
    """
    plans = [(run, configs_of(run, shots, n)) for run in runs]
    for _, configs in plans:
        for cfg in configs:
            config.validate(cfg)
    bases: dict[str, Cell] = {}
    tasks: dict[str, Task] = {}
    trained = []
    for run, configs in plans:
        asked = [(cfg, _task(cfg, tasks)) for cfg in configs]
        trained += _evaluate_run(run, asked, bases)
    return [*bases.values(), *trained]


def run_config(run: Path) -> DictConfig:
    if not (run / "config.yaml").is_file() or not (run / "model").is_dir():
        raise UserError(f"{run} is no finished run: expected config.yaml and model/ in it")
    return config.load(run / "config.yaml")


def configs_of(run: Path, shots: Sequence[int] | None, n: int | None) -> list[DictConfig]:
    """The run's configuration for each number of shots, which a resolved one holds twice."""
    found = []
    for count in shots or ShotSchedule.of(run_config(run)).ends:
        cfg = run_config(run)
        cfg.shots = cfg.dataset.num_shots = count
        cfg.shots_schedule = Schedule.constant
        cfg.eval.n = cfg.eval.n if n is None else n
        found.append(cfg)
    return found


def _task(cfg: DictConfig, known: "dict[str, Task]") -> "Task":
    """Runs of a sweep mostly have the same questions, read once for all."""
    from rlvr.data.load import load_splits
    from rlvr.evaluation.tasks import own_task
    from rlvr.verify.build import build_verifier

    asked = [config.to_yaml(cfg.dataset), cfg.seed, cfg.eval.n, cfg.eval.split.value]
    key = digest(asked)
    if key not in known:
        verifier = build_verifier(cfg.dataset)
        splits = load_splits(cfg.dataset, seed=cfg.seed, verifier=verifier)
        known[key] = own_task(cfg, splits)
    return known[key]


def _evaluate_run(
    run: Path, asked: "Sequence[tuple[DictConfig, Task]]", bases: dict[str, Cell]
) -> list[Cell]:
    """Cells of the trained model; those of base models that are not in `bases` yet go there."""
    from rlvr.evaluation.saved_models import SavedModels
    from rlvr.library_noise import quiet_libraries

    quiet_libraries()
    models = SavedModels(run, asked[0][0])
    for cfg, task in asked:
        asker = asker_of(models, cfg, trained=False)
        key = digest([asker.asked(task), [[q["prompt"], q["gold"]] for q in task.questions]])
        known = bases.get(key)
        found = known.score if known else _ask(asker, task, cfg, run, "base")
        names = (*(known.runs if known else ()), run.name)
        bases[key] = Cell(names, None, cfg.shots, found)
    trained_with = ShotSchedule.of(run_config(run))
    return [
        Cell(
            (run.name,),
            trained_with.start,
            cfg.shots,
            _ask(asker_of(models, cfg, trained=True), task, cfg, run, "trained"),
            str(trained_with) if trained_with.moves else None,
        )
        for cfg, task in asked
    ]


def asker_of(models: "SavedModels", cfg: DictConfig, *, trained: bool) -> "Asker":
    """The run's own question asked again gives its own rows: the same prompts, draws and stop."""
    from rlvr.evaluation.evaluate import Asker
    from rlvr.evaluation.identity import model_identity
    from rlvr.training.arguments import evaluation_sampling

    return Asker(
        engine=models.engine,
        tokenizer=models.tokenizer,
        inference=partial(models.lend, trained=trained),
        identity=model_identity(cfg, models.folder if trained else None, models.device),
        sampling=evaluation_sampling(cfg),
        seed=cfg.seed,
        k=cfg.eval.k,
        batch_size=cfg.eval.batch_size,
    )


def _ask(asker: "Asker", task: "Task", cfg: DictConfig, run: Path, phase: str) -> Score:
    name = f"shots_{cfg.shots}_n_{cfg.eval.n}"
    return ask(asker, task, run, phase, name, f"with {cfg.shots} shots")


def ask(asker: "Asker", task: "Task", run: Path, phase: str, name: str, how: str) -> Score:
    """The rows are `evaluations/PHASE.NAME.jsonl` in the run's directory."""
    from rlvr.evaluation.evaluate import evaluate
    from rlvr.progress import Progress

    folder = run / "evaluations"
    folder.mkdir(exist_ok=True)
    with Progress(folder) as progress:
        progress.begin(f"{phase} of run {run.name} {how}")
        rows = evaluate(
            asker,
            task,
            root=output_dir() / "evaluations" if phase == "base" else folder / "answers",
            file=folder / f"{phase}.{name}.jsonl",
            progress=progress.update,
        )
    return score(rows)
