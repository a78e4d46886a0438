"""Which settings become MLflow parameters: what the user set, and the few everyone asks for."""

from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rlvr.dotted_keys import is_of_the_run, split_overrides

ALWAYS = (
    "shots",
    "seed",
    "model.path",
    "dataset.name",
    "peft.method",
    "trainer.loss_type",
    "trainer.learning_rate",
)


def params(cfg: DictConfig, overrides: Sequence[str]) -> dict[str, Any]:
    """Dotted keys to values: those in `cfg`, and for a group (`model=tiny`) its choice."""
    chosen: dict[str, Any] = {key: OmegaConf.select(cfg, key) for key in ALWAYS}
    for key, text in split_overrides(overrides).items():
        if not is_of_the_run(key):
            continue
        value = OmegaConf.select(cfg, key)
        chosen[key] = text if value is None or OmegaConf.is_config(value) else value
    return {key: value for key, value in chosen.items() if value is not None}
