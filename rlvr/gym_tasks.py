"""Tasks of reasoning_gym (an optional package), for the data that they make and its verifier."""

import difflib
import json
from dataclasses import fields
from typing import Any

from rlvr.errors import UserError


def create(task: str, config: dict[str, Any]) -> Any:
    """The task's ProceduralDataset; UserError for an unknown task or a setting it refuses."""
    factory = _factory()
    if task not in factory.DATASETS:
        close = difflib.get_close_matches(task, factory.DATASETS, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(close)}?" if close else "see the package's gallery."
        raise UserError(f"dataset.loader.task={task}: reasoning_gym has no such task; {hint}")
    try:
        if task == "composite":
            config = {**config, "datasets": _parts(config.get("datasets"))}
        return factory.create_dataset(task, **config)
    except (TypeError, ValueError, AssertionError) as error:
        known = ", ".join(sorted(f.name for f in fields(factory.DATASETS[task][1])))
        raise UserError(
            f"dataset.loader.config: task {task} refuses it ({error}). Its settings are: {known}."
        ) from None


def _parts(datasets: list[dict[str, Any]] | None) -> list[Any]:
    """Tasks to be mixed, each {name: ..., weight: 1, config: {}}."""
    from reasoning_gym.composite import DatasetSpec

    return [DatasetSpec(**{"weight": 1.0, "config": {}, **part}) for part in datasets or ()]


def _factory() -> Any:
    try:
        import reasoning_gym.factory
    except ModuleNotFoundError as error:
        raise UserError(
            f"dataset=reasoning_gym: {error}. Run: pip install 'rlvr[reasoning-gym]'"
        ) from None
    return reasoning_gym.factory


def encode(metadata: object) -> str:
    """JSON text that keeps tuples apart from lists: some tasks compare them."""
    return json.dumps(_tagged(metadata), default=str)


def decode(text: str) -> Any:
    """What `encode` was given."""
    return json.loads(text, object_hook=lambda o: tuple(o["()"]) if o.keys() == {"()"} else o)


def _tagged(value: object) -> object:
    if isinstance(value, tuple):
        return {"()": [_tagged(v) for v in value]}
    if isinstance(value, list):
        return [_tagged(v) for v in value]
    if isinstance(value, dict):
        return {key: _tagged(v) for key, v in value.items()}
    return value
