"""How settings and models are written, the same in tables, charts, reports and progress lines."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rlvr import formatting

SHORT = {"learning_rate": "lr"}
LONG = 8  # characters that many names share before they are left out


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """The last part of each dotted key, or as many parts as tell it from the others."""
    names = {}
    for key in keys:
        parts = key.split(".")
        size = 1
        while size < len(parts) and any(
            other != key and other.split(".")[-size:] == parts[-size:] for other in keys
        ):
            size += 1
        last = ".".join(parts[-size:])
        names[key] = SHORT.get(last, last)
    return names


def shown(value: Any) -> str:
    """A setting as people write it: 1e-5, true, null, a list as JSON."""
    if isinstance(value, bool) or value is None or isinstance(value, list | dict):
        return json.dumps(value)
    return formatting.number(value) if isinstance(value, int | float) else str(value)


def named(typed: Mapping[str, str], config: DictConfig) -> str:
    """`shots=2 lr=3e-4` for overrides as they were typed: a group's option is shown as it is there,
    a value as the table shows it."""
    names = short_names(list(typed))
    return " ".join(f"{names[key]}={_value(config, key, text)}" for key, text in typed.items())


def _value(config: DictConfig, key: str, typed: str) -> str:
    value = OmegaConf.select(config, key, throw_on_missing=False)
    if value is None or OmegaConf.is_dict(value):
        return typed
    return shown(OmegaConf.to_container(value) if OmegaConf.is_list(value) else value)


def model_name(path: str) -> str:
    """`Qwen/Qwen2.5-0.5B`, `/models/Qwen2.5-0.5B/` -> `Qwen2.5-0.5B`; `package:tiny` -> `tiny`."""
    return path.rstrip("/").replace(":", "/").rpartition("/")[2]


def without_shared_start(texts: Sequence[str]) -> list[str]:
    """`…v0.1`, `…v0.2` where long names begin alike: what differs is what has to be read."""
    first, last = min(texts), max(texts)
    pairs = enumerate(zip(first, last, strict=False))
    same = next((place for place, (a, b) in pairs if a != b), len(first))
    cut = 1 + max(first.rfind(mark, 0, same) for mark in "/-_ ")
    if cut < LONG or len(set(texts)) < 2:
        return list(texts)
    return [f"…{text[cut:]}" for text in texts]
