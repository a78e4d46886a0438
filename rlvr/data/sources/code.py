"""Code tasks from JSON Lines: our own small set, or the user's."""

from pathlib import Path

from rlvr.data.rows import ROW_KEY, Row
from rlvr.data.shown_tests import shown_inputs, shown_tests
from rlvr.data.sources import jsonl
from rlvr.errors import UserError
from rlvr.sandbox.judging import check_tests

EMBEDDED = Path(__file__).parents[1] / "tasks" / "code_tasks.jsonl"
FORM = (
    "expected entry_point (the function's name) and tests (a list of Python statements, some with "
    "an assert), or stdin and stdout (lists of texts, equally many)"
)


def load(*, path: str | None, seed: int, test_fraction: float | None = 0.2) -> dict[str, list[Row]]:
    """Rows as `jsonl.load` has them, with the solution as gold; without a path the embedded set.

    A row has `question`, `solution`, and `entry_point` and `tests`, and where helpers must be
    defined before the code `context`; or for a program `stdin` and `stdout`. Raises UserError.
    """
    source = path if path is not None else str(EMBEDDED)
    splits = jsonl.load(
        path=source, seed=seed, question="question", answer="solution", test_fraction=test_fraction
    )
    return {split: [checked(row) for row in rows] for split, rows in splits.items()}


def checked(row: Row) -> Row:
    """`row`, if it is a task that can be judged, with which of its tests the question shows.

    UserError names it and what is wrong.
    """
    question = str(row["question"])
    try:
        if row.get("stdin") is not None:
            _check_program(row.get("stdin"), row.get("stdout"))
            return {**row, "shown": shown_inputs(question, row["stdin"])}
        _check_function(row)
        return {**row, "shown": shown_tests(question, row["entry_point"], row["tests"])}
    except ValueError as error:
        raise UserError(f"{row[ROW_KEY]}: {error}.") from None


def _check_program(given: object, printed: object) -> None:
    if not _are_texts(given) or not _are_texts(printed) or len(given) != len(printed):  # type: ignore[arg-type]
        raise ValueError(f"stdin={given!r}, stdout={printed!r}; {FORM}")


def _check_function(row: Row) -> None:
    name, tests, context = row.get("entry_point"), row.get("tests"), row.get("context") or ""
    if not isinstance(name, str) or not name.isidentifier() or not _are_texts(tests):
        raise ValueError(f"entry_point={name!r}, tests={tests!r}; {FORM}")
    if not isinstance(context, str):
        raise ValueError(f"context={context!r}; expected the text of Python statements")
    check_tests(tests, context)  # type: ignore[arg-type]


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)
