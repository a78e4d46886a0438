"""`rlvr evaluate RUN --shots 0,2,4,8`: a trained model asked with other numbers of exemplars."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from rlvr import config
from rlvr.errors import UserError
from rlvr.evaluation.score import Score, score
from rlvr.result import write_atomic

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Cell:
    """One run asked with one number of shots."""

    run: str
    train_shots: int
    eval_shots: int
    score: Score


def runs_of(target: str) -> list[Path]:
    """A run's directory, or the finished runs of a sweep (its directory, its name, or `last`)."""
    from rlvr import manifest
    from rlvr.paths import output_dir
    from rlvr.states import State

    directory = manifest.locate(target, output_dir() / "sweeps")
    if not (directory / manifest.FILE).is_file():
        return [directory]
    jobs = manifest.load(directory).jobs
    found = [directory / job.dir for job in jobs if job.state is State.finished]
    if not found:
        raise UserError(f"no run of {directory} is finished; see rlvr compare {directory}")
    return found


def evaluate_runs(runs: Sequence[Path], shots: Sequence[int] | None, n: int | None) -> list[Cell]:
    """Every run with every number of shots (default: its own). Rows are kept below the run."""
    prepared = [(run, _run_config(run, n)) for run in runs]
    plans = [(run, cfg, list(shots or [cfg.shots])) for run, cfg in prepared]
    for _, cfg, wanted in plans:
        for count in wanted:
            config.validate(_with_shots(cfg, count))
    return [cell for run, cfg, wanted in plans for cell in _evaluate_run(run, cfg, wanted)]


def _run_config(run: Path, n: int | None) -> DictConfig:
    if not (run / "config.yaml").is_file() or not (run / "model").is_dir():
        raise UserError(f"{run} is no finished run: expected config.yaml and model/ in it")
    cfg = config.load(run / "config.yaml")
    if n is not None:
        cfg.eval.n = n
    return cfg


def _with_shots(cfg: DictConfig, shots: int) -> DictConfig:
    """The resolved config holds the number twice."""
    changed = cfg.copy()
    changed.shots = changed.dataset.num_shots = shots
    return changed


def _evaluate_run(run: Path, cfg: DictConfig, shots: Sequence[int]) -> list[Cell]:
    from rlvr.library_noise import quiet_libraries

    quiet_libraries()
    model = _load(run, cfg)
    return [_evaluate(run, _with_shots(cfg, count), model) for count in shots]


def _load(run: Path, cfg: DictConfig) -> "PreTrainedModel":
    """The run's model: its own weights, or the base model with its adapter."""
    import torch
    from peft import PeftModel

    from rlvr.training.model import load_model

    trained = run / "model"
    if (trained / "adapter_config.json").exists():
        model: Any = PeftModel.from_pretrained(load_model(cfg), str(trained))
    else:
        full = cfg.copy()
        full.model.path = str(trained)
        model = load_model(full)
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def _evaluate(run: Path, cfg: DictConfig, model: "PreTrainedModel") -> Cell:
    """The run's own question asked again gives its own rows: the same prompts, draws and stop."""

    from rlvr.data.load import load_splits
    from rlvr.evaluation.evaluate import Asker, evaluate
    from rlvr.evaluation.identity import model_identity
    from rlvr.evaluation.tasks import tasks
    from rlvr.progress import Progress
    from rlvr.sampling.shared import choose_engine
    from rlvr.training.arguments import evaluation_sampling
    from rlvr.training.model import load_tokenizer
    from rlvr.verify.build import build_verifier

    verifier = build_verifier(cfg.dataset)
    splits = load_splits(cfg.dataset, seed=cfg.seed, verifier=verifier)
    tokenizer = load_tokenizer(cfg)
    folder = run / "evaluations"
    folder.mkdir(exist_ok=True)
    asker = Asker(
        engine=choose_engine(model, tokenizer, cfg.trainer.prefix_cache),
        tokenizer=tokenizer,
        inference=lambda: nullcontext(model),
        identity=model_identity(cfg, run / "model", model.device.type),
        sampling=evaluation_sampling(cfg),
        seed=cfg.seed,
        k=cfg.eval.k,
        batch_size=cfg.eval.batch_size,
    )
    with Progress(folder) as progress:
        progress.begin(f"{run.name} with {cfg.shots} shots")
        rows = evaluate(
            asker,
            tasks(cfg, splits)[0],
            root=folder / "answers",
            file=folder / f"trained.shots_{cfg.shots}_n_{cfg.eval.n}.jsonl",
            progress=progress.update,
        )
    trained = config.load(run / "config.yaml").shots
    return Cell(run.name, trained, cfg.shots, score(rows))


def print_matrix(cells: Sequence[Cell], folder: Path) -> None:
    """Train shots down, evaluation shots across; also as `evaluations.json` in `folder`."""
    import json

    from rich.console import Console
    from rich.table import Table

    across = sorted({cell.eval_shots for cell in cells})
    table = Table(title="accuracy [95 % interval] by evaluation shots", title_justify="left")
    table.add_column("run")
    table.add_column("trained with", justify="right")
    for count in across:
        table.add_column(f"{count} shots", justify="right")
    for run in dict.fromkeys(cell.run for cell in cells):
        mine = {cell.eval_shots: cell for cell in cells if cell.run == run}
        trained = next(iter(mine.values())).train_shots
        table.add_row(run, f"{trained} shots", *(_cell(mine.get(count)) for count in across))
    Console().print(table)
    text = json.dumps([asdict(cell) for cell in cells], indent=2)
    write_atomic(folder / "evaluations.json", text + "\n")


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return ""
    s = cell.score
    return f"{100 * s.accuracy:.1f} [{100 * s.low:.1f}, {100 * s.high:.1f}]"
