"""What a run does, phase by phase: data, base evaluation, GRPO, trained evaluation, the tests."""

import logging
import os
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from rlvr import config, ranks, tracking
from rlvr.data.schedule import ShotSchedule
from rlvr.paths import output_dir
from rlvr.progress import TRAINING, Later, Progress
from rlvr.result import Result
from rlvr.tracking.files import TABLE_ROWS

if TYPE_CHECKING:
    from rlvr.data.load import Splits
    from rlvr.evaluation.evaluate import Asker
    from rlvr.evaluation.score import Rows
    from rlvr.evaluation.tasks import Task
    from rlvr.pruning import Pruned
    from rlvr.rewards.reward import Reward
    from rlvr.safeguards.preflight import Preflight
    from rlvr.training.trainer import Trainer

log = logging.getLogger(__name__)


def experiment(
    cfg: DictConfig,
    run_dir: Path,
    result: Result,
    tracker: tracking.Tracker,
    progress: Progress,
) -> None:
    from rlvr.config.steps import planned_steps
    from rlvr.data.load import data_digest, load_splits
    from rlvr.evaluation.protocols import protocol_tasks
    from rlvr.evaluation.tasks import tasks, validation_task
    from rlvr.hub.card import write_card
    from rlvr.rewards.build import build_rewards
    from rlvr.safeguards.learning_rate import learning_rate_warning
    from rlvr.verify.build import build_verifier
    from rlvr.verify.code import CodeVerifier

    progress.begin("data")
    if ranks.is_main():
        rate = learning_rate_warning(cfg)
        for warning in (*config.warnings(cfg), *([rate] if rate else [])):
            log.warning(warning)
    rewards = build_rewards(cfg.rewards)
    schedule = ShotSchedule.of(cfg)
    verifier = build_verifier(cfg.dataset)
    splits = load_splits(cfg.dataset, seed=cfg.seed, verifier=verifier, schedule=schedule)
    asked, looked_at = tasks(cfg, splits), validation_task(cfg, splits)
    sandboxes = {str(v.sandbox) for v in (splits.verifier, *(task.verifier for task in asked))
                 if isinstance(v, CodeVerifier)}  # fmt: skip
    result.sandbox = ", ".join(sorted(sandboxes)) or None
    steps = planned_steps(cfg, len(splits.train)).count  # refuses what is no plan
    for name in ("train", "validation", "test"):
        data = getattr(splits, name)
        result.datasets[name] = {"n": len(data), "digest": data_digest(data)}
        tracker.log_dataset(data, f"{cfg.dataset.name}-{name}", name)
    for task in asked[1:]:
        result.datasets[task.name] = {
            "n": len(task.questions),
            "digest": data_digest(task.questions),
        }
    asked += protocol_tasks(cfg, asked[0])
    _expect(cfg, splits, asked, progress)
    progress.begin("pre-flight")
    preflight = _check_golds(cfg, run_dir, rewards, splits, tracker)
    progress.begin("loading the model")
    trainer = build_trainer(cfg, run_dir, rewards, splits, tracker, progress)
    result.engine = trainer.engine.name
    if preflight is not None:
        progress.begin("pre-flight rollouts")
        _check_rollouts(preflight, run_dir, trainer, splits)
    ask = partial(_evaluate, cfg, run_dir, trainer, asked, result, tracker, progress)
    rows: dict[str, dict[str, Rows]] = {}
    if cfg.eval.before:
        rows["base"] = ask("base")
    if looked_at is not None:
        _look(cfg, run_dir, trainer, looked_at, steps, tracker, progress)
    _train(cfg, run_dir, trainer, result, progress)
    result.attention = trainer.attention.made if trainer.can_share else None
    if trainer.looks is not None and trainer.looks.pruned is not None:
        _conclude_pruned(trainer.looks.pruned, result, tracker, progress)
        return
    if cfg.eval.after:
        rows["trained"] = ask("trained")
    progress.begin("saving the results")
    _conclude(run_dir, trainer, result, asked, rows, tracker, progress)
    if trainer.is_world_process_zero():
        write_card(cfg, run_dir / "model", result)


def _expect(cfg: DictConfig, splits: "Splits", asked: "list[Task]", progress: Progress) -> None:
    """What is to come after the base evaluation, so that one estimate covers the whole run."""
    from rlvr.config.steps import planned_steps

    planned = planned_steps(cfg, len(splits.train))
    progress.estimate.later[TRAINING] = Later(planned.count, TRAINING, 1.0)
    for task in asked if cfg.eval.after else ():
        share = cfg.eval.k / planned.completions
        base, trained = (evaluation_phase(when, task) for when in ("base", "trained"))
        progress.estimate.later[trained] = Later(len(task.questions), base, share)


def evaluation_phase(when: str, task: "Task") -> str:
    """`base evaluation`, `trained evaluation of svamp`."""
    from rlvr.evaluation.tasks import MAIN

    return f"{when} evaluation" + ("" if task.name == MAIN else f" of {task.title}")


def _check_golds(
    cfg: DictConfig,
    run_dir: Path,
    rewards: "list[Reward]",
    splits: "Splits",
    tracker: tracking.Tracker,
) -> "Preflight | None":
    """The pre-flight check before the model loads; marks a run with control rewards as one."""
    from rlvr.config.steps import planned_steps
    from rlvr.rewards.controls import control_names
    from rlvr.safeguards.gold_answers import check_golds

    if control := control_names(rewards):
        tracker.set_tags({"control": ", ".join(control)})
    if not cfg.trainer.preflight:
        return None
    report = check_golds(rewards, splits, planned_steps(cfg, len(splits.train)))
    report.publish(run_dir)
    return report


def _check_rollouts(
    report: "Preflight", run_dir: Path, trainer: "Trainer", splits: "Splits"
) -> None:
    from rlvr.safeguards.base_rollouts import check_rollouts

    check_rollouts(report, trainer, splits)
    report.publish(run_dir)


def build_trainer(
    cfg: DictConfig,
    run_dir: Path,
    rewards: "list[Reward]",
    splits: "Splits",
    tracker: tracking.Tracker,
    progress: Progress,
) -> "Trainer":
    from rlvr import machine
    from rlvr.run_directory import attention_records, shared_prefix_records
    from rlvr.safeguards.health import HealthMonitor
    from rlvr.training import micro_batch
    from rlvr.training.arguments import generation, grpo_config
    from rlvr.training.callbacks import TrackerCallback, silence
    from rlvr.training.model import fetch_config, load_model, load_tokenizer, lora_config
    from rlvr.training.selection import Selection
    from rlvr.training.shared_prefix.update import Sharing
    from rlvr.training.trainer import Trainer, at_least_one_batch

    tokenizer = load_tokenizer(cfg)
    fetch_config(cfg)
    batch = micro_batch.settle(cfg, run_dir, splits, machine.here(cfg)).batch
    sampled_by = generation(cfg, run_dir, splits, tokenizer)
    args = grpo_config(cfg, run_dir, [reward.weight for reward in rewards], batch)
    prefix = splits.prompt_builder.template.answer_prefix
    trainer = Trainer(
        model=load_model(cfg),
        tokenizer=tokenizer,
        args=args,
        rewards=rewards,
        verifier=splits.verifier,
        stop=splits.stop,
        train_dataset=at_least_one_batch(splits.train, args),
        selection=Selection(
            splits.prompts,
            cfg.trainer.dynamic_sampling,
            cfg.trainer.revisit,
            cfg.seed,
            cfg.trainer.downsample_from,
        ),
        eval_dataset=splits.validation.take(cfg.trainer.eval_examples),
        peft_config=lora_config(cfg),
        callbacks=[TrackerCallback(tracker, run_dir, progress)],
        sharing=Sharing(
            cfg.trainer.shared_prefix.value,
            cfg.trainer.skip_zero_advantage,
            cfg.trainer.self_check,
            cfg.trainer.token_budget,
            shared_prefix_records(run_dir),
            attention_records(run_dir),
        ),
        prefix_cache=cfg.trainer.prefix_cache,
        health=HealthMonitor(rewards, prefix, run_dir) if cfg.trainer.health else None,
        save_minutes=cfg.trainer.save_minutes,
        generation=sampled_by,
    )
    silence(trainer)
    return trainer


def _evaluate(
    cfg: DictConfig,
    run_dir: Path,
    trainer: "Trainer",
    asked: "list[Task]",
    result: Result,
    tracker: tracking.Tracker,
    progress: Progress,
    phase: str,
) -> "dict[str, Rows]":
    """Ask the model every task; what a base model answers is shared with other runs."""
    from rlvr.evaluation.evaluate import evaluate

    trained = run_dir / "model" if phase == "trained" else None
    asker = _asker(cfg, trainer, trained)
    folder = run_dir / "evaluations"
    folder.mkdir(exist_ok=True)
    root = folder / "answers" if trained else output_dir() / "evaluations"
    rows: dict[str, Rows] = {}
    for task in asked:
        file = folder / f"{task.file(phase)}.jsonl"
        progress.begin(evaluation_phase(phase, task), len(task.questions))
        rows[task.name] = evaluate(asker, task, root=root, file=file, progress=progress.update)
        _keep_score(rows[task.name], task, phase, result, tracker)
    return rows


def _asker(cfg: DictConfig, trainer: "Trainer", trained: Path | None) -> "Asker":
    """`trained` is where the model was saved that is asked; None for the base model."""
    from rlvr.evaluation.evaluate import Asker
    from rlvr.evaluation.identity import model_identity
    from rlvr.training.arguments import evaluation_sampling

    return Asker(
        engine=trainer.engine,
        tokenizer=trainer.processing_class,
        inference=trainer.inference,
        identity=model_identity(cfg, trained, trainer.accelerator.device.type),
        sampling=evaluation_sampling(cfg),
        seed=cfg.seed,
        k=cfg.eval.k,
        batch_size=cfg.eval.batch_size,
        ranks=trainer.accelerator.num_processes,
    )


def _look(
    cfg: DictConfig,
    run_dir: Path,
    trainer: "Trainer",
    task: "Task",
    steps: int,
    tracker: tracking.Tracker,
    progress: Progress,
) -> None:
    """At the base model's answers to validation questions now, and at its own while it trains."""
    from rlvr.training.looks import Looks

    asker = _asker(cfg, trainer, None)
    trainer.looks = Looks(cfg.pruner, asker, task, run_dir, tracker, steps)
    progress.begin("base validation", len(task.questions))
    trainer.looks.at_base(output_dir() / "evaluations")


def _keep_score(
    rows: "Rows", task: "Task", phase: str, result: Result, tracker: tracking.Tracker
) -> None:
    from rlvr.evaluation.score import brief, metrics, score

    summary = asdict(score(rows))
    if task.is_rule:
        summary = brief(summary)
    else:  # the answers that rules judge are mostly the same
        tracker.log_table(rows[:TABLE_ROWS], f"{task.file(phase)}_completions.json")
    _keep(result, task, phase, summary)
    tracker.log_metrics(metrics(f"{phase}{task.below}", summary))


def _keep(result: Result, task: "Task", part: str, found: dict[str, Any]) -> None:
    from rlvr.evaluation.tasks import MAIN

    if task.name == MAIN:
        setattr(result, part, found)
        return
    scores = result.protocols if task.is_rule else result.benchmarks
    kept = scores.setdefault(task.title, {"other_form": task.other_form} if task.is_rule else {})
    kept[part] = found


def _train(
    cfg: DictConfig, run_dir: Path, trainer: "Trainer", result: Result, progress: Progress
) -> None:
    from accelerate.utils import set_seed

    from rlvr.hub.card import forget_machine

    last = trainer.resumption.newest_checkpoint() if cfg.trainer.resume else None
    if last and ranks.is_main():
        log.info("going on from %s", last)
    # What came before draws as much as it finds to do, and training must not depend on that.
    set_seed(cfg.seed, device_specific=True)
    trainer.draws.manual_seed(cfg.seed)
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    if trainer.looks is not None and trainer.looks.pruned is not None:
        return  # its last checkpoint is what it can go on from
    progress.begin("saving the model")
    trainer.save_model(str(run_dir / "model"))
    if trainer.is_world_process_zero():
        forget_machine(run_dir / "model", cfg.model.path)
    trainer.accelerator.wait_for_everyone()  # every rank looks into the folder
    result.paths["model"] = "model"


def _conclude_pruned(
    pruned: "Pruned", result: Result, tracker: tracking.Tracker, progress: Progress
) -> None:
    """Its scores are of validation questions, so it has none that others are compared with."""
    result.pruned, result.error = asdict(pruned), pruned.reason
    tracker.set_tags({"pruned": pruned.rule, "pruned.reason": pruned.reason})
    progress.end()
    if ranks.is_main():
        log.info("pruned, %s: %s", pruned.rule, pruned.reason)


def _conclude(
    run_dir: Path,
    trainer: "Trainer",
    result: Result,
    asked: "list[Task]",
    rows: "dict[str, dict[str, Rows]]",
    tracker: tracking.Tracker,
    progress: Progress,
) -> None:
    """The paired tests, the sweeper's metric, and the table the user sees."""
    from rlvr.evaluation.protocols import add_gaps
    from rlvr.evaluation.run_summary import print_result
    from rlvr.evaluation.score import headline, paired

    if trainer.health is not None:
        trainer.health.log_disagreements(tracker)
    if len(rows) == 2:
        for task in asked:
            test = paired(rows["base"][task.name], rows["trained"][task.name])
            _keep(result, task, "paired", test)
            tracker.log_metrics({f"trained{task.below}/p_value": test["p_value"]})
        for warning in add_gaps(result.protocols, rows["base"], rows["trained"]):
            log.warning(warning)
    rewards = [entry["reward"] for entry in trainer.state.log_history if "reward" in entry]
    scored = result.trained or result.base
    result.metric = scored["accuracy"] if scored else rewards[-1]
    tracker.log_metrics(headline(result.base, result.trained))
    progress.end()
    if trainer.is_world_process_zero():
        of_a_sweep = tracking.RUN_NAME_VARIABLE in os.environ
        print_result(result, run_dir, {} if of_a_sweep else tracker.places)
