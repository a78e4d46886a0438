"""One run, top to bottom: data, base evaluation, GRPO, trained evaluation, result."""

import logging
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from rlvr import config, tracking
from rlvr.errors import UserError
from rlvr.library_noise import quiet_libraries
from rlvr.paths import PROJECT
from rlvr.result import Result, code_state, read, versions, write_atomic

if TYPE_CHECKING:
    from rlvr.data.load import Splits
    from rlvr.evaluation.evaluate import Rows
    from rlvr.safeguards.preflight import Preflight
    from rlvr.training.trainer import Trainer

log = logging.getLogger(__name__)
TABLE_ROWS = 200  # of an evaluation, shown in MLflow; the JSONL file has them all


def run(cfg: DictConfig, run_dir: Path) -> float:
    """Train as configured and return the metric a sweeper maximises.

    The metric is the trained accuracy; without trained evaluation the base accuracy, else the mean
    reward of the last training step. Whatever happens, `run_dir/result.json` says so.
    """
    quiet_libraries()
    from rlvr.training import ranks

    run_dir.mkdir(parents=True, exist_ok=True)
    count = ranks.processes(cfg)
    if ranks.needs_launch(cfg, count):
        return _run_in_ranks(cfg, run_dir, count)
    return _run_here(cfg, run_dir)


def _run_in_ranks(cfg: DictConfig, run_dir: Path, count: int) -> float:
    from rlvr.training import ranks

    write_atomic(run_dir / "config.yaml", config.to_yaml(cfg))
    code = ranks.launch(cfg, run_dir, count)
    result = read(run_dir)
    if code != 0 or result is None or result.metric is None:
        why = result.error if result and result.error else f"exit code {code}"
        raise UserError(f"the run in {count} processes failed: {why}\n  see {run_dir}")
    return result.metric


def _run_here(cfg: DictConfig, run_dir: Path) -> float:
    started = time.monotonic()
    git, diff = code_state(PROJECT)
    result = Result(
        shots=cfg.shots, seed=cfg.seed, overrides=_overrides(run_dir), versions=versions(), git=git
    )
    tracker: tracking.Tracker | None = None
    try:
        tracker = tracking.open_run(
            cfg.tracking,
            name=run_dir.name,
            params=tracking.params(cfg, result.overrides),
            tags={"shots": str(cfg.shots), "seed": str(cfg.seed)},
            log_system_metrics=cfg.tracking.system_metrics,
        )
        result.run_id = tracker.run_id
        _log_inputs(cfg, run_dir, tracker, diff)
        _experiment(cfg, run_dir, result, tracker)
        result.status = "finished"
    except BaseException as error:
        result.fail(error)
        raise
    finally:
        result.seconds = round(time.monotonic() - started, 3)
        try:
            _write(result, run_dir)
        finally:
            if tracker is not None:
                tracker.finish(result.status)
    assert result.metric is not None
    return result.metric


def _overrides(run_dir: Path) -> list[str]:
    for name in ("overrides.yaml", ".hydra/overrides.yaml"):
        if (run_dir / name).exists():
            return [str(o) for o in OmegaConf.to_container(OmegaConf.load(run_dir / name)) or []]
    return []


def _write(result: Result, run_dir: Path) -> None:
    """Rank 0 writes, unless torchrun ended it because another rank failed and has said why."""
    from rlvr.training import ranks

    if result.status == "killed" and ranks.is_rank():
        earlier = read(run_dir)
        if earlier and earlier.status == "failed":
            return
    if ranks.is_main() or result.status == "failed":
        result.write(run_dir)


def _log_inputs(cfg: DictConfig, run_dir: Path, tracker: tracking.Tracker, diff: str) -> None:
    """Config, overrides, uncommitted changes and packages: what it takes to run this again."""
    from rlvr.training import ranks

    if not ranks.is_main():
        return
    import importlib.metadata

    packages = sorted(f"{d.name}=={d.version}" for d in importlib.metadata.distributions())
    write_atomic(run_dir / "config.yaml", config.to_yaml(cfg))
    write_atomic(run_dir / "requirements.txt", "\n".join(packages) + "\n")
    write_atomic(run_dir / "git.diff", diff)
    for name in ("config.yaml", "requirements.txt", "git.diff"):
        tracker.log_artifact(run_dir / name)


def _experiment(cfg: DictConfig, run_dir: Path, result: Result, tracker: tracking.Tracker) -> None:
    from hydra.utils import instantiate

    from rlvr.data.load import digest, load_splits
    from rlvr.evaluation.in_training import evaluate_split

    verifier = instantiate(cfg.dataset.verifier)
    splits = load_splits(cfg.dataset, seed=cfg.seed, verifier=verifier)
    for name in ("train", "validation", "test"):
        data = getattr(splits, name)
        result.datasets[name] = {"n": len(data), "digest": digest(data)}
        tracker.log_dataset(data, f"{cfg.dataset.name}-{name}", name)
    preflight = _check_golds(cfg, run_dir, splits, tracker)
    trainer = build_trainer(cfg, run_dir, splits, tracker)
    if preflight is not None:
        _check_rollouts(preflight, run_dir, trainer, splits)
    rows: dict[str, Rows] = {}
    if cfg.eval.before:
        rows["base"] = evaluate_split(cfg, run_dir, trainer, splits, "base")
        result.base = _log_score(rows["base"], "base", tracker)
    _train(cfg, run_dir, trainer, result)
    if cfg.eval.after:
        rows["trained"] = evaluate_split(cfg, run_dir, trainer, splits, "trained")
        result.trained = _log_score(rows["trained"], "trained", tracker)
    _conclude(run_dir, trainer, result, rows, tracker)


def _check_golds(
    cfg: DictConfig, run_dir: Path, splits: "Splits", tracker: tracking.Tracker
) -> "Preflight | None":
    """The pre-flight check before the model loads; marks a run with control rewards as one."""
    from rlvr.rewards.functions import build_rewards
    from rlvr.safeguards.preflight import check_golds, control_names
    from rlvr.safeguards.preflight_report import conclude

    rewards, weights = build_rewards(cfg.rewards, verifier=splits.verifier, stop=splits.stop)
    if control := control_names(rewards, weights):
        tracker.set_tags({"control": ", ".join(control)})
    if not cfg.trainer.preflight:
        return None
    report = check_golds(rewards, weights, splits)
    conclude(report, run_dir)
    return report


def _check_rollouts(
    report: "Preflight", run_dir: Path, trainer: "Trainer", splits: "Splits"
) -> None:
    from rlvr.safeguards.base_rollouts import check_rollouts
    from rlvr.safeguards.preflight_report import conclude

    check_rollouts(report, trainer, splits)
    conclude(report, run_dir)


def build_trainer(
    cfg: DictConfig, run_dir: Path, splits: "Splits", tracker: tracking.Tracker
) -> "Trainer":
    from rlvr.rewards.functions import build_rewards
    from rlvr.safeguards.health import HealthMonitor
    from rlvr.training.arguments import grpo_config
    from rlvr.training.callbacks import TrackerCallback, silence
    from rlvr.training.model import load_model, load_tokenizer, lora_config
    from rlvr.training.shared_prefix.update import Sharing
    from rlvr.training.trainer import Trainer, at_least_one_batch

    rewards, weights = build_rewards(cfg.rewards, verifier=splits.verifier, stop=splits.stop)
    args = grpo_config(cfg, run_dir, weights)
    tokenizer = load_tokenizer(cfg)
    trainer = Trainer(
        model=load_model(cfg),
        tokenizer=tokenizer,
        args=args,
        reward_funcs=rewards,
        stop=splits.stop,
        train_dataset=at_least_one_batch(splits.train, args),
        eval_dataset=splits.validation.take(cfg.trainer.eval_examples),
        peft_config=lora_config(cfg),
        callbacks=[TrackerCallback(tracker, run_dir)],
        sharing=Sharing(
            cfg.trainer.shared_prefix.value,
            cfg.trainer.skip_zero_advantage,
            cfg.trainer.self_check,
            cfg.trainer.token_budget,
        ),
        prefix_cache=cfg.trainer.prefix_cache,
        health=HealthMonitor(rewards, weights, splits, run_dir) if cfg.trainer.health else None,
    )
    silence(trainer)
    return trainer


def _log_score(rows: "Rows", phase: str, tracker: tracking.Tracker) -> dict[str, Any]:
    from rlvr.evaluation.evaluate import metrics, score

    summary = score(rows)
    tracker.log_metrics(metrics(phase, summary))
    tracker.log_table(rows[:TABLE_ROWS], f"{phase}_completions.json")
    return asdict(summary)


def _train(cfg: DictConfig, run_dir: Path, trainer: "Trainer", result: Result) -> None:
    from transformers.trainer_utils import get_last_checkpoint

    checkpoints = Path(trainer.args.output_dir)
    last = get_last_checkpoint(str(checkpoints)) if checkpoints.is_dir() else None
    if last and cfg.trainer.resume:
        log.info("going on from %s", last)
    for stale in run_dir.glob("eval_trained*.jsonl"):
        stale.unlink()  # of an earlier attempt, whose weights were others
    trainer.train(resume_from_checkpoint=last if cfg.trainer.resume else None)
    trainer.save_model(str(run_dir / "model"))
    result.paths["model"] = "model"


def _conclude(
    run_dir: Path,
    trainer: "Trainer",
    result: Result,
    rows: dict[str, "Rows"],
    tracker: tracking.Tracker,
) -> None:
    """The paired test, the sweeper's metric, and the table the user sees."""
    from rlvr.evaluation.report import paired, print_result

    if trainer.health is not None:
        trainer.health.report(tracker)
    if len(rows) == 2:
        result.paired = paired(rows["base"], rows["trained"])
        tracker.log_metrics({"trained/p_value": result.paired["p_value"]})
    rewards = [entry["reward"] for entry in trainer.state.log_history if "reward" in entry]
    scored = result.trained or result.base
    result.metric = scored["accuracy"] if scored else rewards[-1]
    tracker.log_metrics({"metric": result.metric})
    if trainer.is_world_process_zero():
        print_result(result, run_dir)
