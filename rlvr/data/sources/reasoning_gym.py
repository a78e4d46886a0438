"""Any task of reasoning_gym (an optional package) by name, generated without network."""

import itertools
import json
import logging
import random
from collections.abc import Iterator
from typing import Any

from rlvr.data.rows import Row
from rlvr.errors import UserError
from rlvr.gym_tasks import create, encode

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
