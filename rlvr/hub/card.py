"""What is saved with a trained model: its card, and nothing that names this machine."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rlvr.compare.names import model_name
from rlvr.compare.verdict import told
from rlvr.config.schema import PeftMethod
from rlvr.data.schedule import ShotSchedule
from rlvr.dotted_keys import is_of_the_run, override_key
from rlvr.formatting import percent
from rlvr.model_files import local_folder
from rlvr.result import Result, write_atomic
from rlvr.tracking.params import without_folder

RECIPE = (
    *("shots", "seed", "peft.method", "trainer.loss_type", "trainer.learning_rate"),
    *("trainer.lr_scheduler_type", "trainer.num_train_epochs", "trainer.max_steps"),
    *(
        "trainer.batch_size",
        "trainer.num_generations",
        "trainer.max_completion_length",
        "trainer.temperature",
    ),
    *("trainer.beta", "eval.split", "eval.temperature", "eval.k"),
)


def base_name(path: str) -> str:
    """The base model as others may know it: its name on the hub; of a folder, the last part."""
    return path if local_folder(path) is None else model_name(path)


def forget_machine(folder: Path, model_path: str) -> None:
    """Take out of a saved model what is of use on this machine alone: the pickled arguments, and
    the path of a base model that is not on the hub (whoever loads the adapter names the base)."""
    (folder / "training_args.bin").unlink(missing_ok=True)
    file = folder / "adapter_config.json"
    if file.is_file():
        adapter = json.loads(file.read_text(encoding="utf-8"))
        adapter["base_model_name_or_path"] = base_name(model_path)
        write_atomic(file, json.dumps(adapter, indent=2, sort_keys=True) + "\n")


def write_card(cfg: DictConfig, folder: Path, result: Result) -> None:
    """`README.md` of the saved model, with the scores as metadata that the hub reads."""
    from huggingface_hub import ModelCardData

    name = title(cfg)
    adapter = cfg.peft.method is not PeftMethod.none
    data = ModelCardData(
        base_model=None if local_folder(cfg.model.path) else cfg.model.path,
        library_name="peft" if adapter else "transformers",
        pipeline_tag="text-generation",
        tags=["grpo", "rlvr", "trl", *(["lora"] if adapter else [])],
        model_name=name,
        eval_results=_eval_results(cfg, result) or None,
    )
    parts = [
        f"# {name}",
        _summary(cfg, adapter),
        f"## Results\n\n{_scores(result)}",
        f"## Data\n\n{_data(cfg, result)}",
        f"## Recipe\n\n{_recipe(cfg)}",
        f"## To repeat it\n\n{_repeat(result)}",
        "## Licence\n\nNone is set here. The licence of the base model holds for what is derived "
        "from it, and that of the data may too: add `license:` at the top of this file before "
        "you publish it.",
    ]
    text = "\n\n".join([f"---\n{data.to_yaml()}\n---", *parts])
    write_atomic(folder / "README.md", text + "\n")


def title(cfg: DictConfig) -> str:
    """`Qwen2.5-0.5B-gsm8k-grpo-8shot`."""
    loss = cfg.trainer.loss_type
    shots = "to".join(map(str, ShotSchedule.of(cfg).ends))
    return f"{model_name(cfg.model.path)}-{cfg.dataset.name}-{loss}-{shots}shot"


def _summary(cfg: DictConfig, adapter: bool) -> str:
    base = base_name(cfg.model.path)
    what = f"A LoRA adapter for `{base}`" if adapter else f"`{base}`, all weights trained"
    load = (
        f'base = AutoModelForCausalLM.from_pretrained("{base}")\n'
        'model = PeftModel.from_pretrained(base, "THIS FOLDER OR REPOSITORY")'
        if adapter
        else 'model = AutoModelForCausalLM.from_pretrained("THIS FOLDER OR REPOSITORY")'
    )
    shots = f"{' to '.join(map(str, ShotSchedule.of(cfg).ends))} worked examples"
    return (
        f"{what}: trained by reinforcement learning with verifiable rewards (GRPO) on "
        f"`{cfg.dataset.name}`, with {shots} in each prompt.\n\n"
        f"```python\n{load}\n```"
    )


def _phases(result: Result) -> Iterator[tuple[str | None, str, dict[str, Any]]]:
    """Benchmark (None: the run's own data), phase and score, as far as there are any."""
    own = {"base": result.base, "trained": result.trained}
    for name, scores in [(None, own), *result.benchmarks.items()]:
        for phase in ("base", "trained"):
            if score := scores.get(phase):
                yield name, phase, score


def _scores(result: Result) -> str:
    lines = ["| data | model | accuracy % | 95 % interval | questions |", "|---|---|---|---|---|"]
    for name, phase, score in _phases(result):
        accuracy, low, high = (percent(score[part]) for part in ("accuracy", "low", "high"))
        data = name or "held-out questions"
        lines.append(f"| {data} | {phase} | {accuracy} | {low} to {high} | {score['n']} |")
    if len(lines) == 2:
        return "The model was not evaluated after training."
    if result.paired and result.base and result.trained:
        gain = 100 * (result.trained["accuracy"] - result.base["accuracy"])
        won, lost = result.paired["trained_only"], result.paired["base_only"]
        lines += [
            "",
            f"Gain: {gain:+.1f} points; {won} questions won and {lost} lost, "
            f"{told(result.paired['p_value'])} (exact McNemar test, one seed).",
        ]
    return "\n".join(lines)


def _data(cfg: DictConfig, result: Result) -> str:
    lines = ["| part | rows | digest |", "|---|---|---|"]
    lines += [f"| {part} | {d['n']} | `{d['digest']}` |" for part, d in result.datasets.items()]
    return f"Dataset `{cfg.dataset.name}`.\n\n" + "\n".join(lines)


def _recipe(cfg: DictConfig) -> str:
    lines = ["| setting | value |", "|---|---|"]
    for key in RECIPE:
        value = OmegaConf.select(cfg, key)
        lines.append(f"| `{key}` | {getattr(value, 'value', value)} |")
    rewards = [f"`{name}` (weight {r.get('weight', 1)})" for name, r in cfg.rewards.items()]
    return "\n".join(lines) + f"\n\nRewards: {', '.join(rewards)}."


def _repeat(result: Result) -> str:
    command = shlex.join(["python", "train.py", *map(_portable, _own(result.overrides))])
    versions = ", ".join(f"{name} {number}" for name, number in result.versions.items())
    commit = "The code was not in git."
    if result.git:
        changed = " with uncommitted changes" if result.git["dirty"] else ""
        commit = f"Commit `{result.git['commit']}`{changed}."
    return f"```\n{command}\n```\n\n{commit} Versions: {versions}."


def _own(overrides: list[str]) -> list[str]:
    return [o for o in overrides if is_of_the_run(override_key(o)) and "://" not in o]


def _portable(override: str) -> str:
    key, equals, value = override.partition("=")
    return f"{key}{equals}{without_folder(value)}"


def _eval_results(cfg: DictConfig, result: Result) -> "list[Any]":
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type="text-generation",
            dataset_type=name or cfg.dataset.name,
            dataset_name=name or cfg.dataset.name,
            dataset_split=None if name else str(cfg.eval.split.value),
            metric_type="accuracy",
            metric_name=f"accuracy, 95 % interval {score['low']:.4f} to {score['high']:.4f}, "
            f"n = {score['n']}",
            metric_value=round(score["accuracy"], 4),
        )
        for name, phase, score in _phases(result)
        if phase == "trained"
    ]
