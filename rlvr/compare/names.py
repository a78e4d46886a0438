"""How settings and models are written, the same in tables, charts, reports and progress lines."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rlvr import formatting
from rlvr.dotted_keys import is_of_the_run, split_overrides

SHORT = {"learning_rate": "lr", "gradient_accumulation_steps": "accumulation"}
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


def run_names(overrides: Sequence[Sequence[str]]) -> list[str]:
    """`shots=2 lr=3e-4` for each run of a sweep: the overrides that differ, or all where none does.
    Runs that these do not tell apart are numbered; a run without overrides has no name."""
    runs = [
        {key: text for key, text in split_overrides(given).items() if is_of_the_run(key)}
        for given in overrides
    ]
    keys = list(dict.fromkeys(key for run in runs for key in run))
    keys = [key for key in keys if len({run.get(key) for run in runs}) > 1] or keys
    short = short_names(keys)
    names = [" ".join(f"{short[k]}={_as_shown(run[k])}" for k in keys if k in run) for run in runs]
    times = Counter(names)
    return [
        f"{name} #{index}" if name and times[name] > 1 else name for index, name in enumerate(names)
    ]


def _as_shown(text: str) -> str:
    """An override's value: numbers as people write them, all else as it was typed."""
    try:
        return shown(float(text))
    except ValueError:
        return text


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
