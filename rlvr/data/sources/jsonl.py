"""The user's own JSON Lines files; every problem is reported with its file and row."""

import random
from pathlib import Path

from rlvr.data.rows import RESERVED, ROW_KEY, Row, contents, kind, read_jsonl
from rlvr.errors import UserError

SUFFIXES = (".jsonl", ".jsonl.gz")


def load(
    *,
    path: str | None,
    seed: int,
    question: str = "question",
    answer: str = "answer",
    test_fraction: float | None = 0.1,
) -> dict[str, list[Row]]:
    """Rows of one file, split by `seed`, or of a directory's train, test and validation files.

    `question` and `answer` name the columns; all others are kept. With `test_fraction: null` one
    file is all test, for a benchmark. Raises UserError.
    """
    if path is None:
        raise UserError(
            "dataset.path is not set: name a JSONL file, or a directory with train.jsonl and "
            "test.jsonl (dataset.path=PATH)."
        )
    source = Path(path).expanduser()
    if source.is_dir():
        files = {split: find_file(source, split) for split in ("train", "test")}
        if any(source.glob("validation.jsonl*")):
            files["validation"] = find_file(source, "validation")
        return {split: _rows(file, question, answer) for split, file in files.items()}
    rows = _rows(source, question, answer)
    return {"test": rows} if test_fraction is None else split(source, rows, seed, test_fraction)


def find_file(directory: Path, split: str) -> Path:
    """The split's file in a directory, plain or gzipped; UserError says what is there instead."""
    for suffix in SUFFIXES:
        if (file := directory / f"{split}{suffix}").is_file():
            return file
    raise UserError(
        f"dataset.path={directory}: the directory has no {split}.jsonl (it holds "
        f"{contents(directory)}). Expected train.jsonl and test.jsonl; for one file that is to be "
        "split, name the file itself."
    )


def _rows(file: Path, question: str, answer: str) -> list[Row]:
    rows = [parse_row(raw, where, question, answer) for where, raw in read_jsonl(file)]
    if not rows:
        raise UserError(f"{file}: the file is empty; expected one JSON object per line.")
    return rows


def parse_row(raw: Row, where: str, question: str, answer: str) -> Row:
    """One row with the columns `question` and `gold`; UserError where it has not what it needs."""
    for key, column in (("question", question), ("answer", answer)):
        if column not in raw:
            raise UserError(
                f"{where}: there is no column {column!r} (the row has {', '.join(raw) or 'none'}). "
                f"Name the right one with dataset.loader.{key}=COLUMN."
            )
    _check_value(raw[question], question, "text", where)
    _check_value(raw[answer], answer, "text or a number", where)
    others = {name: value for name, value in raw.items() if name not in (question, answer)}
    if taken := sorted(RESERVED & others.keys()):
        raise UserError(
            f"{where}: the column name {taken[0]!r} is taken by the trainer; rename or remove it."
        )
    return {ROW_KEY: where, "question": raw[question], "gold": raw[answer], **others}


def _check_value(value: object, column: str, expected: str, where: str) -> None:
    if kind(value) not in ("text", "a number") or (expected == "text" and kind(value) != "text"):
        raise UserError(
            f"{where}: column {column!r} holds {kind(value)}; expected {expected}. "
            "Mend or remove the row."
        )


def split(file: Path, rows: list[Row], seed: int, fraction: float) -> dict[str, list[Row]]:
    """A seeded test split with at least one row on either side."""
    if not 0 < fraction < 1:
        raise UserError(f"dataset.loader.test_fraction={fraction}: expected above 0 and below 1.")
    if len(rows) < 2:
        raise UserError(f"{file}: one row cannot be split into train and test; add more rows.")
    random.Random(f"{seed}/test").shuffle(rows)
    count = min(max(round(len(rows) * fraction), 1), len(rows) - 1)
    return {"train": rows[count:], "test": rows[:count]}
