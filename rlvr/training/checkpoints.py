"""A run's directory belongs to one configuration: whatever else left there is set aside."""

import json
import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rlvr.digests import digest
from rlvr.result import write_atomic

log = logging.getLogger(__name__)

IDENTITY = "identity.json"
CHECKPOINTS = "checkpoints"
# These choose where a run happens, how it is recorded and what it is asked, not what it learns.
NOT_TRAINING = ("launcher", "tracking", "output_dir", "run", "eval")
LEFT_BY_TRAINING = (
    *(CHECKPOINTS, "model", "evaluations", "result.json", "preflight.json", "metrics.jsonl"),
    *("health", "health_disagreements.jsonl"),
)


def claim_directory(cfg: DictConfig, run_dir: Path, ranks: int) -> None:
    """Record whose directory this is; what another configuration has left moves to `old-N`."""
    values: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    kept = {key: value for key, value in values.items() if key not in NOT_TRAINING}
    kept["trainer"] = {k: v for k, v in kept["trainer"].items() if k != "resume"}
    identity = {"configuration": digest(kept), "ranks": ranks, "seed": cfg.seed}
    file = run_dir / IDENTITY
    left = [run_dir / name for name in LEFT_BY_TRAINING if (run_dir / name).exists()]
    if left and (not file.exists() or json.loads(file.read_text("utf-8")) != identity):
        number = 1
        while (aside := run_dir / f"old-{number}").exists():
            number += 1
        aside.mkdir()
        for path in left:
            path.rename(aside / path.name)
        log.warning("%s was used with another configuration: moved to %s/", run_dir, aside.name)
    write_atomic(file, json.dumps(identity, indent=2) + "\n")


def last_checkpoint(run_dir: Path) -> Path | None:
    from transformers.trainer_utils import get_last_checkpoint

    folder = run_dir / CHECKPOINTS
    last = get_last_checkpoint(str(folder)) if folder.is_dir() else None
    return Path(last) if last else None
