"""Which settings become MLflow parameters: what the user set, and the few everyone asks for."""

from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

ALWAYS = (
    "shots",
    "seed",
    "model.path",
    "dataset.name",
    "peft.method",
    "trainer.loss_type",
    "trainer.learning_rate",
)
NOT_OF_THE_RUN = ("hydra", "launcher", "tracking", "output_dir")


def params(cfg: DictConfig, overrides: Sequence[str]) -> dict[str, Any]:
    """Dotted keys to values: those in `cfg`, and for a group (`model=tiny`) its choice."""
    chosen: dict[str, Any] = {key: OmegaConf.select(cfg, key) for key in ALWAYS}
    for key, text in split_overrides(overrides).items():
        if key.split(".")[0].split("/")[0] in NOT_OF_THE_RUN:
            continue
        value = OmegaConf.select(cfg, key)
        chosen[key] = text if value is None or OmegaConf.is_config(value) else value
    return {key: value for key, value in chosen.items() if value is not None}


def split_overrides(overrides: Sequence[str]) -> dict[str, str]:
    """`["shots=4", "+trainer.extra.top_k=5", "~peft"]` -> keys without sigils and their values."""
    pairs = (override.lstrip("+~").partition("=") for override in overrides)
    return {key: value for key, _, value in pairs}
