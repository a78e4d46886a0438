"""Every check that needs no model: all problems at once, each with the override that mends it."""

import ast
import importlib.util
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rlvr.config import generation, pruner, training
from rlvr.config.schema import (
    OTHER_NAMES,
    Attention,
    Config,
    Distributed,
    PeftMethod,
    Schedule,
    TrainerConfig,
    TrainOrder,
)
from rlvr.dotted_keys import flatten
from rlvr.errors import UserError, nearest
from rlvr.paths import find
from rlvr.secret_patterns import is_secret
from rlvr.targets import target_problems

NEEDS_PATH = "rlvr.data.sources.jsonl.load"


def validate(config: DictConfig) -> None:
    """Raise one UserError that lists everything wrong with a composed config (without `hydra`)."""
    if found := problems(config):
        raise UserError("invalid configuration:\n" + "\n".join(f"  {p}" for p in found))


def problems(config: DictConfig) -> list[str]:
    """Everything wrong with a composed config (without `hydra`); each begins with its key."""
    found = [*_missing(config), *_unknown(config, Config, "")]
    return found or [p for check in CHECKS for p in check(config)]


def _missing(config: DictConfig) -> Iterator[str]:
    for key in sorted(map(str, OmegaConf.missing_keys(config))):
        yield f"{key} is not set: add {key}=VALUE to the command line"


def _unknown(node: DictConfig, schema: type, prefix: str) -> Iterator[str]:
    """`+trainer.learnin_rate=3` is let through by Hydra even into a typed node."""
    known = {f.name for f in fields(schema)}
    hints = get_type_hints(schema)
    for name in map(str, node):
        key = f"{prefix}{name}"
        if name == "hydra" and not prefix:
            continue
        if name not in known:
            yield f"{key} is not a known key{_meant(key, known)}"
        elif is_dataclass(hints[name]) and isinstance(hints[name], type):
            yield from _unknown(node[name], hints[name], f"{key}.")


def _meant(key: str, known: set[str]) -> str:
    group, _, name = key.rpartition(".")
    if group == "trainer" and name in OTHER_NAMES:
        return f": {OTHER_NAMES[name]}"
    if group == "trainer" and name in grpo_config_fields():
        return f": it is a field of TRL's GRPOConfig, so write +trainer.extra.{name}=VALUE"
    return nearest(name, known)


def _values(config: DictConfig) -> Iterator[str]:
    try:
        OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        yield f"{error.full_key}: {str(error).splitlines()[0]}"


# key, condition, what was expected
RANGES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("shots", lambda v: v >= 0, "0 or more"),
    ("shots_end", lambda v: v >= 0, "0 or more"),
    ("shots_until", lambda v: 0 < v <= 1, "above 0 and at most 1 (a share of the steps)"),
    ("shots_probability", lambda v: 0 < v <= 1, "above 0 and at most 1"),
    ("dataset.validation_fraction", lambda v: 0 <= v < 1, "at least 0 and below 1"),
    ("dataset.train_examples", lambda v: v is None or v >= 1, "null or at least 1"),
    ("peft.r", lambda v: v >= 1, "at least 1"),
    ("peft.alpha", lambda v: v > 0, "above 0"),
    ("peft.dropout", lambda v: 0 <= v < 1, "at least 0 and below 1"),
    ("trainer.learning_rate", lambda v: v > 0, "above 0"),
    ("trainer.warmup_ratio", lambda v: 0 <= v < 1, "at least 0 and below 1"),
    ("trainer.num_train_epochs", lambda v: v > 0, "above 0"),
    ("trainer.max_steps", lambda v: v == -1 or v > 0, "-1 (use num_train_epochs) or above 0"),
    ("trainer.batch_size", lambda v: v >= 1, "at least 1"),
    ("trainer.micro_batch_size", lambda v: v is None or v >= 1, "null (what fits) or at least 1"),
    ("trainer.optimizer_steps_per_generation", lambda v: v >= 1, "at least 1"),
    ("trainer.num_iterations", lambda v: v >= 1, "at least 1"),
    ("trainer.num_generations", lambda v: v >= 2, "at least 2 (a group of one has no advantage)"),
    ("trainer.max_completion_length", lambda v: v >= 1, "at least 1"),
    ("trainer.temperature", lambda v: v > 0, "above 0 (training must sample)"),
    ("trainer.top_p", lambda v: 0 < v <= 1, "above 0 and at most 1"),
    ("trainer.beta", lambda v: v >= 0, "0 or more"),
    ("trainer.dynamic_sampling", lambda v: v >= 0, "0 (off) or a number of rounds"),
    ("trainer.revisit", lambda v: 0 < v <= 1, "above 0 and at most 1 (always)"),
    ("trainer.downsample_from", lambda v: v is None or v > 2, "null or above num_generations"),
    ("trainer.logging_steps", lambda v: v >= 1, "at least 1"),
    ("trainer.eval_steps", lambda v: v is None or v >= 1, "null or at least 1"),
    ("trainer.save_steps", lambda v: v is None or v >= 1, "null or at least 1"),
    ("trainer.save_minutes", lambda v: v is None or v > 0, "null or above 0"),
    ("trainer.token_budget", lambda v: v is None or v >= 1, "null (no limit) or at least 1"),
    ("trainer.num_processes", lambda v: v is None or v >= 1, "null or at least 1"),
    ("trainer.vllm.max_model_len", lambda v: v is None or v >= 2, "null or at least 2"),
    (
        "trainer.vllm.memory_share",
        lambda v: v is None or 0 < v < 1,
        "null or between 0 and 1, a share of the GPU's memory",
    ),
    ("eval.n", lambda v: v is None or v >= 1, "null (all) or at least 1"),
    ("eval.k", lambda v: v >= 1, "at least 1"),
    ("eval.temperature", lambda v: v >= 0, "0 (greedy) or above"),
    ("eval.top_p", lambda v: 0 < v <= 1, "above 0 and at most 1"),
    ("eval.batch_size", lambda v: v >= 1, "at least 1"),
    ("eval.max_completion_length", lambda v: v >= 1, "at least 1"),
)


def _ranges(config: DictConfig) -> Iterator[str]:
    for key, holds, expected in RANGES:
        value = OmegaConf.select(config, key)
        if not holds(value):
            yield f"{key}={value}: must be {expected}"


def _training(config: DictConfig) -> Iterator[str]:
    """Relations of settings, where each by itself is right."""
    if not any(problem.startswith("trainer.") for problem in _ranges(config)):
        yield from training.problems(config)
        yield from generation.problems(config)


def _evaluation(config: DictConfig) -> Iterator[str]:
    if config.eval.k > 1 and config.eval.temperature == 0:
        yield (
            f"eval.k={config.eval.k} greedy samples would all be the same: "
            "set eval.temperature=1.0 (or eval=sampled), or eval.k=1"
        )


def _secrets(config: DictConfig) -> Iterator[str]:
    """The resolved configuration is written beside every run, sent with remote jobs and tracked."""
    leaves = flatten(OmegaConf.to_container(config, resolve=True))  # type: ignore[arg-type]
    for key, value in leaves:
        if is_secret(key, value):
            yield (
                f"{key} holds a password or token, and the configuration is recorded with every "
                "run: give it by the environment (an MLflow server: MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD; the Hugging Face hub: HF_TOKEN; PostgreSQL: PGPASSWORD; "
                "jobs on SageMaker: launcher.hf_token_secret=ARN)"
            )


def _datasets(config: DictConfig) -> dict[str, DictConfig]:
    """What is trained on and what is only evaluated on, by key."""
    others = {f"eval.benchmarks.{name}": node for name, node in config.eval.benchmarks.items()}
    return {"dataset": config.dataset, **others}


def _shots(config: DictConfig) -> Iterator[str]:
    from rlvr.data.exemplars import FROM_LOADER, exemplars_path, no_exemplars
    from rlvr.data.schedule import ShotSchedule

    own = ShotSchedule.of(config).most
    for key, dataset in _datasets(config).items():
        shots = own if dataset is config.dataset else dataset.num_shots
        exemplars = dataset.exemplars
        if shots <= 0 or exemplars == FROM_LOADER:
            continue
        if exemplars is None:
            yield no_exemplars(key, shots)
            continue
        path = exemplars_path(exemplars)
        if not path.is_file():
            yield f"{key}.exemplars={exemplars}: there is no file {path}"
            continue
        have = sum(1 for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
        if shots > have:
            yield (
                f"shots={shots}: {path.name} has {have} exemplars; use shots=0 to shots={have}, or "
                f"name a longer file with {key}.exemplars=FILE.jsonl"
            )


def _schedule(config: DictConfig) -> Iterator[str]:
    kind, start = config.shots_schedule, config.shots
    if kind is Schedule.constant:
        return
    if start == config.shots_end:
        yield (
            f"shots_schedule={kind.value} from shots={start} to shots_end={start} changes nothing: "
            "set shots, or use shots_schedule=constant"
        )
    if config.dataset.num_shots != start:
        yield (
            f"dataset.num_shots={config.dataset.num_shots} is not shots={start}, where "
            f"shots_schedule={kind.value} begins: set shots alone"
        )


def _files(config: DictConfig) -> Iterator[str]:
    for key, dataset in _datasets(config).items():
        if dataset.path is None and dataset.loader.get("_target_") == NEEDS_PATH:
            yield (
                f"{key}.path is not set: name a JSONL file, or a directory with train.jsonl and "
                f"test.jsonl ({key}.path=PATH)"
            )
        ordered = dataset.train_order is not TrainOrder.shuffled
        if ordered and (dataset.pass_rates is None or not find(dataset.pass_rates).is_file()):
            yield (
                f"{key}.train_order={dataset.train_order.value} needs {key}.pass_rates=FILE, an "
                f"evaluation of the training questions, and {dataset.pass_rates} is no file: see "
                "docs/experiments.md"
            )
        elif ordered and config.launcher.get("name") == "sagemaker":
            yield f"{key}.pass_rates={dataset.pass_rates}: launcher=sagemaker does not upload it"
        if dataset.path is not None and not find(dataset.path).exists():
            yield f"{key}.path={dataset.path}: no such file or directory"


def _model(config: DictConfig) -> Iterator[str]:
    """What is on this machine; `rlvr.reachable` asks the hub."""
    from rlvr.model_files import PACKAGE, local_folder
    from rlvr.paths import ASSETS

    path = config.model.path
    folder = local_folder(path)
    if path.startswith(PACKAGE):
        embedded = [f"{PACKAGE}{file.parent.name}" for file in ASSETS.glob("*/config.json")]
        if path not in embedded:
            yield f"model.path={path}: no embedded model{nearest(path, embedded)}"
    elif folder is not None and not (folder / "config.json").is_file():
        yield f"model.path={path}: there is no config.json in this directory, so no model"
    elif folder is None and path.startswith(("/", "./", "../", "~")):
        yield f"model.path={path}: no such directory (it must hold config.json and weights)"


def _targets(config: DictConfig) -> Iterator[str]:
    from rlvr.rewards.build import reward_problems
    from rlvr.verify.build import OFFERED

    for key, dataset in _datasets(config).items():
        yield from target_problems(f"{key}.loader", dataset.loader, ("path", "seed"))
        yield from target_problems(f"{key}.verifier", dataset.verifier, OFFERED)
    yield from reward_problems(OmegaConf.to_container(config.rewards, resolve=True))  # type: ignore[arg-type]


def _extra(config: DictConfig) -> Iterator[str]:
    if not config.trainer.extra:
        return
    ours = {f.name for f in fields(TrainerConfig)}
    known = grpo_config_fields()
    for name in config.trainer.extra:
        if name in OTHER_NAMES:
            yield f"trainer.extra.{name}: {OTHER_NAMES[name]}"
        elif name in ours:
            yield f"trainer.extra.{name}: this one is set by trainer.{name}"
        elif generation.is_ours(str(name)):
            yield f"trainer.extra.{name}: {generation.INSTEAD}"
        elif name not in known:
            hint = nearest(str(name), known)
            yield f"trainer.extra.{name} is not a field of TRL's GRPOConfig{hint}"


@cache
def grpo_config_fields() -> set[str]:
    """Field names of GRPOConfig, read from its source: importing it takes six seconds."""
    sources = (("trl", "trainer/grpo_config.py"), ("trl", "trainer/base_config.py"))
    names: set[str] = set()
    for package, file in (*sources, ("transformers", "training_args.py")):
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        tree = ast.parse((Path(spec.origin).parent / file).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                names.add(node.target.id)
    return names


def _attention(config: DictConfig) -> Iterator[str]:
    """A remote job's machine is not this one, so only local runs are checked here."""
    if config.launcher.get("name", "local") != "local":
        return
    if config.model.attn_implementation is not Attention.flash_attention_2:
        return
    if importlib.util.find_spec("flash_attn") is None:
        yield (
            "model.attn_implementation=flash_attention_2: flash-attn is not installed; run "
            "pip install --no-build-isolation 'rlvr[gpu]', or use model.attn_implementation=auto"
        )
    elif shutil.which("nvidia-smi") is None:
        yield (
            "model.attn_implementation=flash_attention_2: no NVIDIA GPU was found on this machine; "
            "use model.attn_implementation=auto"
        )


def _peft(config: DictConfig) -> Iterator[str]:
    """Jobs on SageMaker run on Linux and install what they need, whatever this machine has."""
    if config.launcher.get("name") == "sagemaker":
        return
    if config.peft.method is PeftMethod.qlora and importlib.util.find_spec("bitsandbytes") is None:
        yield "peft=qlora needs bitsandbytes (Linux only); use peft=lora here"


def _tracking(config: DictConfig) -> Iterator[str]:
    name = str(config.tracking.name.value)
    if name == "mlflow":
        from rlvr.tracking.store import resolve_uri

        try:
            resolve_uri(config.tracking.uri)
        except UserError as error:
            yield str(error)
    elif name == "none":
        return
    elif config.launcher.get("name") == "sagemaker":
        yield (
            f"tracking={name}: jobs on SageMaker report to MLflow alone, because they get no "
            "account of yours; use tracking=mlflow, or tracking=none"
        )
    elif importlib.util.find_spec(name) is None:
        yield (
            f"tracking={name}: {name} is not installed; run pip install 'rlvr[{name}]' "
            f"(in a clone: pip install -e '.[{name}]'), or use tracking=mlflow"
        )


def _distributed(config: DictConfig) -> Iterator[str]:
    chosen = config.trainer.distributed
    if chosen is Distributed.fsdp2 and config.peft.method is PeftMethod.qlora:
        yield (
            "trainer.distributed=fsdp2 does not shard the 4-bit weights of peft=qlora: use "
            "peft=lora, or trainer.distributed=ddp"
        )


def _output(config: DictConfig) -> Iterator[str]:
    if problem := unwritable(config.output_dir):
        yield problem


def _run(config: DictConfig) -> Iterator[str]:
    """`last` is the word for the newest one."""
    name = config.run
    if name is not None and (not name.strip(". ") or "/" in name or name == "last"):
        yield f"run={name}: must be the name of a directory, without / and not `last`"


def unwritable(output_dir: str) -> str | None:
    """Why nothing can be written below `output_dir`, or None."""
    folder = Path(output_dir).expanduser().absolute()
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    if not existing.is_dir():
        return f"output_dir={output_dir}: {existing} is a file, not a directory"
    try:
        with tempfile.TemporaryFile(dir=existing):
            return None
    except OSError as error:
        return f"output_dir={output_dir} is not writable ({error.strerror}); set output_dir=DIR"


CHECKS = (
    _values,
    _ranges,
    _secrets,
    _training,
    _evaluation,
    pruner.problems,
    _shots,
    _schedule,
    _files,
    _model,
    _targets,
    _extra,
    _attention,
    _peft,
    _tracking,
    _distributed,
    _output,
    _run,
)
