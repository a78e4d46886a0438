"""The solved questions shown before every question, read from a JSONL file in file order."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlvr.data.prompts import Exemplar
from rlvr.data.rows import read_jsonl
from rlvr.errors import UserError
from rlvr.paths import find

PACKAGE = "package:"
FROM_LOADER = "loader"  # generated with the rows
PACKAGE_DIRECTORY = Path(__file__).with_name("exemplars")


def exemplars_path(spec: str) -> Path:
    """The file that `dataset.exemplars` names: "package:gsm8k" or a path."""
    if spec.startswith(PACKAGE):
        return PACKAGE_DIRECTORY / f"{spec.removeprefix(PACKAGE)}.jsonl"
    return find(spec)


def no_exemplars(key: str, shots: int) -> str:
    return (
        f"shots={shots}: {key} has no exemplars. Use shots=0, or {key}.exemplars=FILE.jsonl with "
        "question, solution and answer in each row"
    )


def load_exemplars(spec: str, shots: int) -> list[Exemplar]:
    """The first `shots` exemplars; every row of the file is checked, whatever `shots` is.

    UserError for a missing file, a bad row, or fewer rows than `shots`.
    """
    return first_shots(read_exemplars(spec), shots, str(exemplars_path(spec)))


def read_exemplars(spec: str) -> list[Exemplar]:
    """All of them; UserError for a missing file or a bad row."""
    path = exemplars_path(spec)
    if not path.is_file():
        packaged = ", ".join(
            f"{PACKAGE}{p.stem}" for p in sorted(PACKAGE_DIRECTORY.glob("*.jsonl"))
        )
        raise UserError(
            f"dataset.exemplars={spec}: there is no file {path}. Name a JSONL file with question, "
            f"solution and answer in each row, or one of: {packaged}."
        )
    return [parse_exemplar(row, where) for where, row in read_jsonl(path)]


def first_shots(exemplars: Sequence[Exemplar], shots: int, source: str) -> list[Exemplar]:
    """The first `shots` of them; UserError when there are fewer."""
    if shots > len(exemplars):
        raise UserError(
            f"shots={shots}: {source} has {len(exemplars)} exemplars. Use shots={len(exemplars)} "
            "or fewer, or name a longer file with dataset.exemplars=FILE.jsonl."
        )
    return list(exemplars[:shots])


def parse_exemplar(row: Mapping[str, Any], where: str) -> Exemplar:
    """One row as an Exemplar; a numeric answer is written out as text. `pass_rate` may be there."""
    for key in ("question", "solution", "answer"):
        value = row.get(key)
        number = key == "answer" and isinstance(value, int | float) and not isinstance(value, bool)
        if not number and not (isinstance(value, str) and value.strip()):
            raise UserError(
                f"{where}: {key} is {value!r}; an exemplar needs the texts question, solution "
                "and answer."
            )
    rate = row.get("pass_rate")
    if rate is not None and not (type(rate) in (int, float) and 0 <= rate <= 1):
        raise UserError(f"{where}: pass_rate is {rate!r}; it is a number from 0 to 1, or left out")
    texts = row["question"].strip(), row["solution"].strip(), str(row["answer"]).strip()
    return Exemplar(*texts, rate)
