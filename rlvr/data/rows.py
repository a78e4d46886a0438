"""What a loader returns: rows, and how they are read from JSON Lines."""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlvr.errors import UserError

Row = dict[str, Any]
ROW_KEY = "_row"
# Columns that this package sets, or that TRL reads or passes to every reward function itself.
RESERVED = frozenset(
    {"prompt", "question", "gold", "prompts", "completion", "completions", "completion_ids"}
    | {"image", "images", "environment", "environments", "trainer_state", "log_extra", "log_metric"}
)


def read_jsonl(file: Path) -> Iterator[tuple[str, Row]]:
    """("FILE:ROW", object) for each line; blank lines count as rows but are skipped."""
    opener = gzip.open if file.suffix == ".gz" else open
    try:
        with opener(file, "rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield f"{file}:{number}", _parse(line, f"{file}:{number}")
    except FileNotFoundError:
        raise UserError(f"{file}: there is no such file; mend dataset.path.") from None
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{file}: cannot be read: {error}.") from None


def read_objects(file: Path) -> Iterator[tuple[str, Row]]:
    """As `read_jsonl`; of a file `.json` the objects of its one array."""
    if file.suffix != ".json":
        yield from read_jsonl(file)
        return
    try:
        rows = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{file}: there is no such file; mend dataset.path.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file}: cannot be read: {error}.") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UserError(f"{file}: expected an array of objects, as it is not JSON Lines (.jsonl).")
    yield from ((f"{file}:{number}", row) for number, row in enumerate(rows, start=1))


def _parse(line: bytes, where: str) -> Row:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{where}: not valid JSON ({error}). Expected one JSON object per line; "
            "a last line that breaks off means that the file is truncated."
        ) from None
    if not isinstance(row, dict):
        raise UserError(f"{where}: expected one JSON object per line, got {kind(row)}.")
    return row


def contents(directory: Path) -> str:
    """The first names in a directory, for an error message."""
    names = sorted(p.name + "/" * p.is_dir() for p in directory.iterdir())
    return (", ".join(names[:8]) + (", ..." if len(names) > 8 else "")) or "nothing"


def kind(value: object) -> str:
    """What JSON calls a value, for error messages."""
    names = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
