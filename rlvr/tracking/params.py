"""Which settings become parameters: all that decide what a run computes, without machine paths."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rlvr.config.schema import Config
from rlvr.dotted_keys import flatten, is_of_the_run, split_overrides
from rlvr.secret_patterns import HIDDEN, is_secret_name, without_secrets


def params(cfg: DictConfig, overrides: Sequence[str]) -> dict[str, Any]:
    """Dotted keys to values: the resolved config, and for a group (`model=tiny`) its choice."""
    groups = {
        key: text
        for key, text in split_overrides(overrides).items()
        if is_of_the_run(key) and not _is_setting(cfg, key)
    }
    settings = {
        key: without_folder(value)
        for name in map(str, cfg)
        if is_of_the_run(name) and not OmegaConf.is_missing(cfg, name)
        for key, value in flatten({name: _plain(cfg[name])})
        if value not in ({}, "???")
    }
    for key, source in _followers().items():  # MLflow compares runs by three settings, no more
        if key in settings and settings[key] == settings.get(source):
            del settings[key]
    return groups | settings


@cache
def _followers() -> dict[str, str]:
    """Settings that are another one's unless they are set (`dataset.num_shots: ${shots}`)."""
    tree = OmegaConf.to_container(OmegaConf.structured(Config))
    assert isinstance(tree, dict)
    leaves = {k: v for k, v in flatten(tree) if isinstance(v, str)}  # type: ignore[arg-type]
    return {key: text[2:-1] for key, text in leaves.items() if text.startswith("${")}


def _is_setting(cfg: DictConfig, key: str) -> bool:
    value = OmegaConf.select(cfg, key)
    return value is not None and not OmegaConf.is_config(value)


def _plain(node: Any) -> Any:
    if OmegaConf.is_config(node):
        return OmegaConf.to_container(node, resolve=True, enum_to_str=True)
    return node


def without_folder(value: Any) -> Any:
    """`/home/me/models/Qwen2.5-0.5B/` -> `Qwen2.5-0.5B`: the same on any machine, and it tells no
    one who works there. Lists are cleaned entry by entry."""
    if isinstance(value, list | tuple):
        return [without_folder(entry) for entry in value]
    if isinstance(value, str) and value.startswith(("/", "~", "file:")):
        return Path(value).name
    return value


def typed(values: dict[str, Any]) -> dict[str, int | float | str | bool]:
    """For trackers that keep numbers as numbers: flat, the rest as text, nothing secret."""
    return {key: _typed(key, value) for key, value in flatten(values)}


def _typed(key: str, value: Any) -> int | float | str | bool:
    if is_secret_name(key) and value is not None:
        return HIDDEN
    if isinstance(value, bool | int | float):
        return value
    return without_secrets(value if isinstance(value, str) else json.dumps(value, default=str))
