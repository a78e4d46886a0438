"""MBPP (Austin et al. 2021, arXiv 2108.07732), from the Hugging Face hub or local JSON Lines."""

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlvr.data.hub import hub_rows
from rlvr.data.rows import ROW_KEY, Row, read_jsonl
from rlvr.data.sources.code import checked
from rlvr.errors import UserError

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

    `path` is mbpp.jsonl or sanitized-mbpp.jsonl as published. The first `shown_tests` stand in the
    question, since only they name the function; all of them count.
    """
    if path is None:
        raw = [row for rows in hub_rows(hub_id, subset, revision, list(SPLITS)).values()
               for row in rows]  # fmt: skip
    else:
        raw = list(read_jsonl(Path(path).expanduser()))
    rows = [(row.get("task_id"), _row(where, row, shown_tests)) for where, row in raw]
    return {split: [row for number, row in rows if number in numbers]
            for split, numbers in SPLITS.items()}  # fmt: skip


def _row(where: str, raw: Mapping[str, Any], shown: int) -> Row:
    text, code, tests = raw.get("text", raw.get("prompt")), raw.get("code"), raw.get("test_list")
    if not isinstance(text, str) or not isinstance(code, str) or not isinstance(tests, list):
        raise UserError(
            f"{where}: expected text (or prompt), code and test_list, got {', '.join(raw)}."
        )
    context = raw.get("test_setup_code") or "\n".join(raw.get("test_imports") or ())
    question = "\n".join([text.strip(), "It must pass:", *tests[:shown]] if shown else [text])
    return checked(
        {
            ROW_KEY: where,
            "question": question,
            "gold": code.replace("\r\n", "\n").replace("\t", "    "),
            "task_id": str(raw.get("task_id")),
            "entry_point": _entry_point(code, tests, where),
            "context": context,
            "tests": tests,
        }
    )


def _entry_point(code: str, tests: Sequence[str], where: str) -> str:
    """The function of the solution that the tests call first."""
    try:
        defined = {n.name for n in ast.walk(ast.parse(code)) if isinstance(n, ast.FunctionDef)}
        called = [n.func.id for test in tests for n in ast.walk(ast.parse(test))
                  if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]  # fmt: skip
    except SyntaxError as error:
        raise UserError(f"{where}: its code or a test is not Python: {error}.") from None
    name = next((name for name in called if name in defined), None)
    if name is None:
        raise UserError(f"{where}: no test calls a function that the code defines.")
    return name
