"""A run's directory belongs to one configuration: whatever else left there is set aside."""

import json
import logging
from functools import reduce
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rlvr.config.schema import Config
from rlvr.digests import digest
from rlvr.paths import output_dir
from rlvr.result import write_atomic

log = logging.getLogger(__name__)

IDENTITY = "identity.json"
# These choose where a run happens, how it is recorded and what it is asked, not what it learns.
NOT_TRAINING = ("launcher", "pruner", "tracking", "output_dir", "run", "eval")
NOT_THE_WAY = ("resume", "save_steps", "save_minutes")
# Later than the first directories: at their defaults they are left out of the identity, so that a
# run that was begun before there were any goes on.
LATER = (
    *("shots_schedule", "shots_end", "shots_until", "shots_probability"),
    *("dataset.train_order", "dataset.pass_rates"),
    *("trainer.dynamic_sampling", "trainer.revisit", "trainer.downsample_from"),
    *("dataset.exemplar_choice", "dataset.exemplar_order", "dataset.exemplar_seed"),
    "trainer.vllm.speculation",
)
LEFT_BY_TRAINING = (
    *("checkpoints", "model", "evaluations", "result.json", "preflight.json", "metrics.jsonl"),
    *("attempts.json", "health", "health_disagreements.jsonl", "shared_prefix.json"),
    *("shared_attention.json", "micro_batch.json", "scores.jsonl", "prune.json"),
    *("generation.json", "vllm.log", "tracked.json", "tensorboard", "wandb"),
)


def claim_directory(cfg: DictConfig, run_dir: Path, ranks: int) -> None:
    """Record whose directory this is; what another configuration has left moves to `old-N`."""
    values: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    kept = {key: value for key, value in values.items() if key not in NOT_TRAINING}
    kept["trainer"] = {k: v for k, v in kept["trainer"].items() if k not in NOT_THE_WAY}
    kept["trainer"]["vllm"].pop("server", None)  # where it is, not what it computes
    _leave_out_defaults(kept)
    identity = {"configuration": digest(kept), "ranks": ranks, "seed": cfg.seed}
    file = run_dir / IDENTITY
    left = [run_dir / name for name in LEFT_BY_TRAINING if (run_dir / name).exists()]
    # A result alone may be the worker's, which has just said that the run runs.
    if {path.name for path in left} - {"result.json"} and (
        not file.exists() or json.loads(file.read_text("utf-8")) != identity
    ):
        number = 1
        while (aside := run_dir / f"old-{number}").exists():
            number += 1
        aside.mkdir()
        for path in left:
            path.rename(aside / path.name)
        log.warning("%s was used with another configuration: moved to %s/", run_dir, aside.name)
    write_atomic(file, json.dumps(identity, indent=2) + "\n")


def _leave_out_defaults(kept: dict[str, Any]) -> None:
    defaults = OmegaConf.structured(Config)
    for key in LATER:
        *groups, name = key.split(".")
        node = reduce(lambda outer, group: outer[group], groups, kept)
        if node.get(name) == OmegaConf.select(defaults, key):
            node.pop(name, None)


def shared_prefix_records(run_dir: Path) -> tuple[Path, ...]:
    """Where `trainer.shared_prefix=auto` keeps its choice."""
    return _records(run_dir, "shared_prefix")


def attention_records(run_dir: Path) -> tuple[Path, ...]:
    """Where the choice of one of a GPU's attentions is kept."""
    return _records(run_dir, "shared_attention")


def generation_records(run_dir: Path) -> tuple[Path, ...]:
    """Where `trainer.generation=auto` keeps its choice."""
    return _records(run_dir, "generation")


def _records(run_dir: Path, choice: str) -> tuple[Path, ...]:
    """Of this run, and for runs of the same configuration in another directory."""
    own = run_dir / f"{choice}.json"
    if not (run_dir / IDENTITY).exists():  # a trial, not a run
        return (own,)
    identity = json.loads((run_dir / IDENTITY).read_text("utf-8"))
    name = digest({k: identity[k] for k in ("configuration", "ranks")})
    return own, output_dir() / choice / f"{name}.json"
