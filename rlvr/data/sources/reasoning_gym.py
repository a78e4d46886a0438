"""Any task of reasoning_gym (an optional package) by name, generated without network."""

import difflib
import itertools
import json
import logging
import random
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from rlvr.data.rows import Row
from rlvr.errors import UserError

log = logging.getLogger(__name__)

EXEMPLARS = 8
# reasoning_gym gives questions and answers but no worked solutions.
SOLUTION = "I follow the rules in the question and check the result."
# Where tasks that accept several answers keep one of them.
EXAMPLE_KEYS = ("example_answer", "example_correct_answer", "possible_answer")


def load(
    *,
    path: str | None,
    seed: int,
    task: str,
    train_size: int = 2000,
    test_size: int = 300,
    config: dict[str, Any] | None = None,
) -> dict[str, list[Row]]:
    """Rows with `question`, `gold` and `metadata` (JSON text, for the verifier), and 8 exemplars.

    Each split has a seed of its own and no question stands twice, so that a task with few distinct
    questions gives fewer than asked for (with a warning). Raises UserError.
    """
    if path is not None:
        raise UserError(f"dataset.path={path}: reasoning_gym generates its rows and reads no file.")
    for name, size in (("train_size", train_size), ("test_size", test_size)):
        if size < 1:
            raise UserError(f"dataset.loader.{name}={size}: expected 1 or more.")
    sizes = {"exemplars": EXEMPLARS, "test": test_size, "train": train_size}
    splits: dict[str, list[Row]] = {}
    seen: set[str] = set()
    for split, size in sizes.items():
        dataset = create(task, {**(config or {}), "size": size, "seed": _seed(task, split, seed)})
        entries = list(itertools.islice(_distinct(dataset, 3 * size, seen), size))
        _check_size(task, split, len(entries), size)
        splits[split] = [_row(dataset, entry, task) for entry in entries]
    splits["exemplars"] = [_exemplar(row) for row in splits["exemplars"]]
    return splits


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


def _seed(task: str, split: str, seed: int) -> int:
    """Far apart, because item i of seed s is item i-1 of seed s+1 in many tasks."""
    return random.Random(f"{task}/{split}/{seed}").randrange(2**31)


def _distinct(dataset: Any, tries: int, seen: set[str]) -> Iterator[dict[str, Any]]:
    for index in range(tries):
        entry = dataset[index]
        if entry["question"] not in seen:
            seen.add(entry["question"])
            yield entry


def _check_size(task: str, split: str, found: int, wanted: int) -> None:
    if not found:
        raise UserError(
            f"dataset.loader.task={task}: it has too few distinct questions to fill {split}; "
            "make the task larger with dataset.loader.config."
        )
    if found < wanted:
        log.warning("%s: only %d distinct %s questions instead of %d", task, found, split, wanted)


def _row(dataset: Any, entry: dict[str, Any], task: str) -> Row:
    gold = entry["answer"] if entry["answer"] is not None else _example(dataset, entry, task)
    metadata = encode(entry["metadata"])
    return {"question": entry["question"], "gold": gold, "metadata": metadata}


def _example(dataset: Any, entry: dict[str, Any], task: str) -> str:
    for key in EXAMPLE_KEYS:
        if (example := entry["metadata"].get(key)) is not None:
            answer = example if isinstance(example, str) else json.dumps(example)
            if dataset.score_answer(answer, entry) == 1:
                return answer
    raise UserError(
        f"dataset.loader.task={task}: reasoning_gym gives no reference answer for it, so nothing "
        "could be shown as an exemplar or checked before training; choose another task."
    )


def _exemplar(row: Row) -> Row:
    return {"question": row["question"], "solution": SOLUTION, "answer": row["gold"]}


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
