"""`rlvr check`: everything that can go wrong before training does, found in seconds."""

import math
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from rlvr import config, estimate, machine, memory, reachable
from rlvr.config import batch
from rlvr.config.steps import Steps, planned_steps
from rlvr.errors import UserError
from rlvr.formatting import duration
from rlvr.model_files import model_files
from rlvr.paths import PROJECT
from rlvr.rewards.columns import BESIDES, LISTS, columns
from rlvr.safeguards.learning_rate import learning_rate_warning

if TYPE_CHECKING:
    from rlvr.data.load import Splits
    from rlvr.evaluation.tasks import Task
    from rlvr.rewards.reward import Reward
    from rlvr.safeguards.preflight import Preflight


def check(
    overrides: Sequence[str],
    *,
    config_dir: str | None = None,
    rollouts: bool = False,
) -> None:
    """Compose and check one configuration, its data and rewards; UserError says what is wrong.

    `config_dir` holds further options, as for train.py. With `rollouts` the base model is loaded
    too and answers a few questions.
    """
    from rich.console import Console

    from rlvr.data.load import load_splits
    from rlvr.data.schedule import ShotSchedule
    from rlvr.evaluation.protocols import protocol_tasks
    from rlvr.evaluation.tasks import tasks
    from rlvr.rewards.build import build_rewards
    from rlvr.safeguards.gold_answers import check_golds
    from rlvr.verify.build import build_verifier

    cfg = compose(overrides, config_dir)
    config.validate(cfg)
    if cfg.launcher.get("name", "local") == "local":  # what other machines reach is not known
        reachable.check(cfg)
    verifier = build_verifier(cfg.dataset)
    splits = load_splits(
        cfg.dataset, seed=cfg.seed, verifier=verifier, schedule=ShotSchedule.of(cfg)
    )
    asked = tasks(cfg, splits)
    asked += protocol_tasks(cfg, asked[0])
    rewards = build_rewards(cfg.rewards)
    console = Console(highlight=False, soft_wrap=True)
    console.print(*describe(cfg, splits, asked), sep="\n")
    report = check_golds(rewards, splits, planned_steps(cfg, len(splits.train)))
    report.publish()
    if rollouts:
        _check_rollouts(cfg, rewards, splits, report)
    console.print("All checks passed.")


def compose(overrides: Sequence[str], config_dir: str | None = None) -> DictConfig:
    """The configuration that train.py would run; Hydra's errors become UserError."""
    from hydra import compose as hydra_compose

    with composing(overrides, config_dir) as every:
        return hydra_compose("config", every)


@contextmanager
def composing(overrides: Sequence[str], config_dir: str | None) -> Iterator[list[str]]:
    """Hydra as train.py starts it; gives the overrides, `config_dir` among them."""
    from hydra import initialize_config_dir

    from rlvr.config.command_line import explain, is_refusal

    root = project_root()
    paths = [str(root), str(root / "launchers")]  # the user's rewards, and Hydra's plugins
    sys.path[:0] = [path for path in paths if path not in sys.path]
    config.register()
    folder = config_dir and Path(config_dir).expanduser().absolute()
    searched = [f"hydra.searchpath=[file://{folder}]"] if folder else []
    if folder and not folder.is_dir():
        raise UserError(f"--config-dir {config_dir}: no such directory")
    try:
        with initialize_config_dir(str(root / "conf"), version_base="1.3"):
            yield [*searched, *overrides]
    except Exception as error:
        if isinstance(error, UserError) or not is_refusal(error):
            raise
        said = explain(error, overrides, root / "conf", folder or None)
        alone = "\n(add -m to check every job of a sweep)" if "multirun" in said else ""
        raise UserError(said + alone) from error


def project_root() -> Path:
    """The folder with train.py and conf/: the current one, or the package's own repository."""
    for folder in (Path.cwd(), PROJECT):
        if (folder / "conf/config.yaml").is_file() and (folder / "train.py").is_file():
            return folder
    raise UserError(
        f"there is no conf/config.yaml beside a train.py in {Path.cwd()}: start rlvr check in the "
        "directory of the project."
    )


def describe(cfg: DictConfig, splits: "Splits", asked: "Sequence[Task]") -> Iterator[str]:
    """What will happen, one line each."""
    sizes = ", ".join(f"{len(getattr(splits, s))} {s}" for s in ("train", "validation", "test"))
    tokens = [*map(len, estimate.prompt_tokens(cfg, splits) or ())]
    prompts = f"; prompts of {min(tokens)} to {max(tokens)} tokens" if tokens else ""
    data = cfg.dataset
    yield f"data        {data.name}: {sizes} questions, {splits.prompts.schedule}{prompts}"
    own = ", ".join(f"{name} ({kind})" for name, kind in columns(splits.train).items())
    yield f"columns     a reward may take {own}; and {', '.join((*LISTS, *BESIDES))}"
    yield f"training    {_training(cfg, planned_steps(cfg, len(splits.train)))}"
    yield f"evaluation  {_evaluation(cfg, asked)}"
    yield f"model       {_model(cfg)}"
    yield from _memory(cfg, splits)
    rate = learning_rate_warning(cfg)
    warnings = [*config.warnings(cfg), *([rate] if rate else [])]
    yield from (f"warning     {warning}" for warning in warnings)


def _training(cfg: DictConfig, steps: Steps) -> str:
    t = cfg.trainer
    uses = t.optimizer_steps_per_generation * t.num_iterations
    sampled = t.batch_size * t.optimizer_steps_per_generation
    every = f"every {uses} steps " if uses > 1 else ""
    return (
        f"{steps.count} steps of {t.batch_size} completions; {every}"
        f"{sampled // t.num_generations} questions x {t.num_generations} completions: "
        f"{steps.rollouts} rollouts of at most {t.max_completion_length} tokens"
    )


def _evaluation(cfg: DictConfig, asked: "Sequence[Task]") -> str:
    times = [name for name in ("before", "after") if cfg.eval[name]]
    if not times:
        return "none"
    own, *others = asked
    benchmarks = [task for task in others if not task.is_rule]
    unstopped = any(task.is_rule and task.stop != own.stop for task in others)
    counts = [f"{len(own.questions)} {cfg.eval.split.value}"]
    counts += [f"{len(task.questions)} {task.name}" for task in benchmarks]
    kind = "greedy" if cfg.eval.temperature == 0 else "sampled"
    answers = f"{cfg.eval.k} {kind} answer{'s' * (cfg.eval.k > 1)}"
    twice = f"; the {len(own.questions)} once more, unstopped" if unstopped else ""
    return f"{', '.join(counts)} questions, {answers} each, {' and '.join(times)} training{twice}"


def _model(cfg: DictConfig) -> str:
    least = least_memory(cfg)
    if least is None:
        return f"{cfg.model.path}: its files are not on this machine, so its size is not known"
    weights = memory.shapes(model_files(cfg.model.path))
    return (
        f"{cfg.model.path}: {large(sum(map(math.prod, weights.values())))} parameters; weights, "
        f"gradients and optimizer take {large(least)}B (peft={cfg.peft.method.value})"
    )


def least_memory(cfg: DictConfig) -> float | None:
    """Bytes without activations; None where the model's files are not on this machine."""
    folder = model_files(cfg.model.path)
    shape = memory.read_shape(folder) if folder else None
    if shape is None:
        return None
    gpu = cfg.launcher.get("name", "local") != "local" or shutil.which("nvidia-smi") is not None
    none = memory.Tokens(0, 0, 1)
    alone = machine.Machine("", int(gpu), None)
    parts = memory.estimate(cfg, shape, none, micro=1, processes=1, machine=alone)
    return parts.weights + parts.training


def _memory(cfg: DictConfig, splits: "Splits") -> Iterator[str]:
    """How a step is divided on the machine of the run, what it takes there, and what would fit."""
    target = machine.planned_for(cfg)
    processes = batch.processes(cfg, target.gpus)
    plan = estimate.plan(cfg, splits, target, processes)
    of_each = f" in each of {processes} processes" * (processes > 1)
    step = (
        f"micro-batches of {plan.batch.micro}{of_each}, {plan.batch.accumulation} to an optimizer "
        "step"
    )
    if plan.memory is None:
        yield f"memory      {step}; the peak is not known"
        return
    known = plan.machine.memory
    of = f" of {large(known)}B" if known else ""
    yield f"memory      {step}; at most about {large(plan.memory.peak)}B{of} on {target.name}"
    if not plan.fits:
        changes = estimate.nearest_that_fits(cfg, splits, target, processes)
        advice = f"the nearest that does: {' '.join(changes)}" if changes else "no setting does"
        yield f"warning     this will not fit; {advice}"


def large(value: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e3:.3g} k"


def _check_rollouts(
    cfg: DictConfig, rewards: "list[Reward]", splits: "Splits", report: "Preflight"
) -> None:
    from rlvr.experiment import build_trainer
    from rlvr.library_noise import quiet_libraries
    from rlvr.progress import Progress
    from rlvr.tracking import NullTracker

    with tempfile.TemporaryDirectory() as folder, Progress(Path(folder)) as progress:
        progress.begin("loading the model")
        quiet_libraries()
        from rlvr.safeguards.base_rollouts import check_rollouts
        from rlvr.sampling.vllm.engine import VllmEngine

        trainer = build_trainer(cfg, Path(folder), rewards, splits, NullTracker(), progress)
        progress.begin("pre-flight rollouts")
        started = time.monotonic()
        check_rollouts(report, trainer, splits)
    seconds = time.monotonic() - started
    report.publish()
    assert report.rollouts is not None
    if isinstance(trainer.engine, VllmEngine):
        seconds -= trainer.engine.seconds_to_start
        print(f"vLLM and the trainer's model: {trainer.engine.parity}")
    rate = report.rollouts["completions"] / seconds
    rollouts = planned_steps(cfg, len(splits.train)).rollouts
    print(
        f"{rate:.1f} rollouts a second here: the {rollouts} of training take "
        f"{duration(rollouts / rate)}, the updates come on top."
    )
