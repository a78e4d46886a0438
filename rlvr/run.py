"""One run: its ranks, its record, and what is said of it, however it ends."""

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from rlvr import config, ranks, reachable, tracking
from rlvr.attempts import Attempt
from rlvr.compare.names import model_name, named
from rlvr.data.schedule import ShotSchedule
from rlvr.dotted_keys import is_of_the_run, split_overrides
from rlvr.errors import UserError
from rlvr.experiment import experiment
from rlvr.formatting import number
from rlvr.library_noise import quiet_libraries
from rlvr.paths import PROJECT
from rlvr.progress import Progress
from rlvr.result import Result, code_state, read, versions, write_atomic
from rlvr.secret_patterns import diff_without_secrets
from rlvr.states import State
from rlvr.tracking.files import INPUTS, OUTPUTS, artifacts

if TYPE_CHECKING:
    pass

log = logging.getLogger(__name__)
RUN_ID_FILE = "mlflow_run_id"  # a run that is killed cannot say it later


def run(cfg: DictConfig, run_dir: Path) -> float:
    """Train as configured and return the metric a sweeper maximises.

    The metric is the trained accuracy; without trained evaluation the base accuracy, else the mean
    reward of the last training step; nan where the run was pruned. Whatever happens,
    `run_dir/result.json` says so.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    progress = Progress(run_dir)
    if ranks.is_main():
        print(f"{describe(cfg)}\n  into {run_dir}", file=sys.stderr, flush=True)
        _check_reachable(cfg, run_dir)
    try:
        progress.begin("loading libraries")
        quiet_libraries(run_dir)
        from rlvr.run_directory import claim_directory
        from rlvr.training import torchrun

        count = torchrun.processes(cfg)
        if ranks.is_main():
            claim_directory(cfg, run_dir, count)
        if torchrun.needs_launch(cfg, count):
            progress.end()
            return _run_in_ranks(cfg, run_dir, count)
        return _run_here(cfg, run_dir, progress)
    finally:
        progress.end()


def _check_reachable(cfg: DictConfig, run_dir: Path) -> None:
    """Before any library loads; a refusal is a result like any other failure."""
    try:
        reachable.check(cfg)
    except UserError as error:
        shots = ShotSchedule.of(cfg).end
        result = Result(shots=shots, seed=cfg.seed, overrides=_overrides(run_dir))
        result.fail(error)
        result.write(run_dir)
        raise


def describe(cfg: DictConfig) -> str:
    """`GRPO of Qwen2.5-0.5B on gsm8k: shots=8 lr=1.84e-4 peft=qlora`."""
    schedule = ShotSchedule.of(cfg)
    shots = f"shots={schedule}" if schedule.moves else f"shots={cfg.shots}"
    settings = f"{shots} lr={number(cfg.trainer.learning_rate)} seed={cfg.seed}"
    name = f"{cfg.trainer.loss_type.upper()} of {model_name(cfg.model.path)} on {cfg.dataset.name}"
    return f"{name}: {settings} peft={cfg.peft.method.value}"


def _run_in_ranks(cfg: DictConfig, run_dir: Path, count: int) -> float:
    from rlvr.training import torchrun

    if ranks.is_main():
        write_atomic(run_dir / "config.yaml", config.to_yaml(cfg))
    code = torchrun.launch(cfg, run_dir, count)
    if code == 0 and not ranks.is_main():
        return float("nan")  # the first machine has the result
    result = read(run_dir)
    if code != 0 or result is None or not result.status.complete:
        why = result.error if result and result.error else f"exit code {code}"
        raise UserError(f"the run in {count} processes failed: {why}\n  see {run_dir}")
    return metric(result)


def _run_here(cfg: DictConfig, run_dir: Path, progress: Progress) -> float:
    git, diff = code_state(PROJECT)
    schedule = ShotSchedule.of(cfg)
    result = Result(
        status=State.running,
        shots=schedule.end,
        schedule=str(schedule) if schedule.moves else None,
        seed=cfg.seed,
        overrides=_overrides(run_dir),
        versions=versions(),
        git=git,
    )
    with Attempt(run_dir) as attempt:
        result.seconds = attempt.seconds
        _write(result, run_dir)
        _recorded(cfg, run_dir, result, attempt, diff, progress)
    return metric(result)


def metric(result: Result) -> float:
    """What was pruned has none that could be compared."""
    if result.status is State.pruned:
        return float("nan")
    assert result.metric is not None
    return result.metric


def _recorded(
    cfg: DictConfig, run_dir: Path, result: Result, attempt: Attempt, diff: str, progress: Progress
) -> None:
    """Run the experiment; whatever happens, `result.json` and the tracker say how it ended."""
    tracker: tracking.Tracker | None = None
    try:
        if cfg.tracking.name == "mlflow":
            progress.begin("opening MLflow")
        tracker = tracking.open_run(
            cfg.tracking,
            name=f"{run_dir.name} {named(_settings(result.overrides), cfg)}".strip(),
            directory=run_dir,
            params=tracking.params(cfg, result.overrides),
            tags={"shots": cfg.shots, "seed": cfg.seed, **tracking.code_tags(result.git)},
        )
        result.run_id = tracker.run_id
        if tracker.run_id is not None:
            write_atomic(run_dir / RUN_ID_FILE, tracker.run_id)
        _log_inputs(cfg, run_dir, tracker, diff)
        experiment(cfg, run_dir, result, tracker, progress)
        result.status = State.finished if result.pruned is None else State.pruned
    except BaseException as error:
        result.fail(error)
        raise
    finally:
        result.seconds = attempt.seconds
        try:
            _write(result, run_dir)
        finally:
            if tracker is not None:
                for path in artifacts(run_dir, OUTPUTS) if ranks.is_main() else []:
                    tracker.log_artifact(path)
                tracker.finish(result.status)


def _overrides(run_dir: Path) -> list[str]:
    file = run_dir / "overrides.yaml"
    return list(map(str, OmegaConf.load(file))) if file.exists() else []


def _settings(overrides: list[str]) -> dict[str, str]:
    return {key: typed for key, typed in split_overrides(overrides).items() if is_of_the_run(key)}


def _write(result: Result, run_dir: Path) -> None:
    """Rank 0 writes, unless torchrun ended it because another rank failed and has said why."""
    if result.status is State.killed and ranks.is_rank():
        earlier = read(run_dir)
        if earlier and earlier.status is State.failed:
            return
    if ranks.is_main() or result.status is State.failed:
        result.write(run_dir)


def _log_inputs(cfg: DictConfig, run_dir: Path, tracker: tracking.Tracker, diff: str) -> None:
    """Config, overrides, uncommitted changes and packages: what it takes to run this again."""
    if not ranks.is_main():
        return
    import importlib.metadata

    packages = sorted(f"{d.name}=={d.version}" for d in importlib.metadata.distributions())
    write_atomic(run_dir / "config.yaml", config.to_yaml(cfg))
    write_atomic(run_dir / "requirements.txt", "\n".join(packages) + "\n")
    write_atomic(run_dir / "git.diff", diff_without_secrets(diff))
    for path in artifacts(run_dir, INPUTS):
        tracker.log_artifact(path)
