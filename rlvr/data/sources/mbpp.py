"""MBPP (Austin et al. 2021, arXiv 2108.07732), from the Hugging Face hub or local JSON Lines."""

import ast
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from symtable import symtable
from typing import Any

from rlvr.data.hub import hub_rows
from rlvr.data.rows import ROW_KEY, Row, read_objects
from rlvr.data.sources.code import checked
from rlvr.errors import UserError

log = logging.getLogger(__name__)

NUMBERS = range(1, 975)
SPLITS = {"train": range(601, 975), "validation": range(511, 601), "test": range(11, 511)}


def load(
    *,
    path: str | None,
    seed: int,
    hub_id: str = "google-research-datasets/mbpp",
    subset: str = "full",
    revision: str | None = None,
    shown_tests: int = 1,
) -> dict[str, list[Row]]:
    """The paper's splits, by task number; `seed` changes nothing. Raises UserError.

    `path` is mbpp.jsonl or sanitized-mbpp.json as published, or rows of their form as JSON Lines.
    The first `shown_tests` stand in the question, since only they name the function; all of them
    count. Tasks 1 to 10, which the paper has as exemplars, are in no split.
    """
    if path is None:
        raw = [row for rows in hub_rows(hub_id, subset, revision, list(SPLITS)).values()
               for row in rows]  # fmt: skip
    else:
        raw = list(read_objects(Path(path).expanduser()))
    rows = [(_number(where, row), _row(where, row, shown_tests)) for where, row in raw]
    rows = _paid(rows)
    return {split: [row for number, row in rows if number in numbers]
            for split, numbers in SPLITS.items()}  # fmt: skip


def _paid(rows: list[tuple[int, Row]]) -> list[tuple[int, Row]]:
    """Without the one task whose published solution is not paid: a bool equals a bool alone."""
    kept = [(n, row) for n, row in rows if n != 414 or not re.search(r"return [01]\b", row["gold"])]
    if len(kept) < len(rows):
        log.warning(
            "MBPP: %d of %d tasks is left out: 414, whose solution returns 0 and 1 where its tests "
            "say False and True (the sanitized set has it mended)", len(rows) - len(kept), len(rows)
        )  # fmt: skip
    return kept


def _number(where: str, raw: Mapping[str, Any]) -> int:
    number = raw.get("task_id")
    if type(number) is not int or number not in NUMBERS:
        raise UserError(
            f"{where}: task_id={number!r}; expected a number from 1 to 974, which says what split "
            "of MBPP a task is in. Tasks of your own: dataset=code_tasks (docs/code.md)."
        )
    return number


def _row(where: str, raw: Mapping[str, Any], shown: int) -> Row:
    text, code, tests = raw.get("text", raw.get("prompt")), raw.get("code"), raw.get("test_list")
    if not isinstance(text, str) or not isinstance(code, str) or not isinstance(tests, list):
        raise UserError(
            f"{where}: expected text (or prompt), code and test_list, got {', '.join(raw)}."
        )
    question = "\n".join([text.strip(), "It must pass:", *tests[:shown]] if shown else [text])
    # The set-up makes objects of the solution's own classes, so it comes after the solution.
    before = [raw["test_setup_code"]] if raw.get("test_setup_code") else []
    return checked(
        {
            ROW_KEY: where,
            "question": question,
            "gold": code.replace("\r\n", "\n").replace("\t", "    "),
            "task_id": str(raw.get("task_id")),
            "entry_point": _entry_point(code, tests, where),
            "context": "\n".join(raw.get("test_imports") or ()),
            "tests": [*before, *tests],
        }
    )


def _entry_point(code: str, tests: Sequence[str], where: str) -> str:
    """The function or class of the solution that the tests call first."""
    try:
        symbols = symtable(code, where, "exec").get_symbols()
        defined = {s.get_name() for s in symbols if s.is_assigned() and not s.is_imported()}
        called = [n.func.id for test in tests for n in ast.walk(ast.parse(test))
                  if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]  # fmt: skip
    except SyntaxError as error:
        raise UserError(f"{where}: its code or a test is not Python: {error}.") from None
    name = next((name for name in called if name in defined), None)
    if name is None:
        raise UserError(f"{where}: no test calls a function that the code defines.")
    return name
