"""GSM8K (Cobbe et al. 2021, arXiv 2110.14168), from the Hugging Face hub or from local files."""

import re
from collections.abc import Iterator
from pathlib import Path

from rlvr.data.hub import hub_rows
from rlvr.data.rows import ROW_KEY, Row, contents, read_jsonl
from rlvr.errors import UserError

SPLITS = ("train", "test")
# In order of preference; the last is how the hub's own repository names its files.
PATTERNS = ("{split}.jsonl", "{split}.jsonl.gz", "{split}.parquet", "{split}-*.parquet")
CALCULATOR_MARK = re.compile(r"<<[^<>]*>>")


def load(
    *,
    path: str | None,
    seed: int,
    hub_id: str = "openai/gsm8k",
    subset: str = "main",
    revision: str | None = None,
) -> dict[str, list[Row]]:
    """Rows with `question`, `gold` (as written: "1,080") and `solution` (the rationale's text).

    The splits are GSM8K's own, so `seed` changes nothing. Raises UserError.
    """
    if path is None:
        raw = hub_rows(hub_id, subset, revision, SPLITS)
    else:
        raw = {split: _local_rows(Path(path).expanduser(), split, subset) for split in SPLITS}
    return {split: [_row(where, row) for where, row in rows] for split, rows in raw.items()}


def _row(where: str, raw: Row) -> Row:
    question, answer = raw.get("question"), raw.get("answer")
    if not isinstance(question, str) or not isinstance(answer, str):
        raise UserError(f"{where}: expected the texts question and answer, got {', '.join(raw)}.")
    rationale, marker, gold = answer.rpartition("####")
    if not marker or not gold.strip():
        raise UserError(
            f"{where}: the answer does not end in '#### NUMBER': {answer[-60:]!r}. Mend or remove "
            "the row; for files in another form take dataset=jsonl."
        )
    solution = CALCULATOR_MARK.sub("", rationale).strip()
    return {ROW_KEY: where, "question": question, "gold": gold.strip(), "solution": solution}


def _local_rows(directory: Path, split: str, subset: str) -> Iterator[tuple[str, Row]]:
    files = _find(directory, split, subset)
    rows = 0
    for file in files:
        for where, row in _read(file):
            rows += 1
            yield where, row
    if not rows:
        raise UserError(f"{files[0]}: the file is empty; expected one JSON object per line.")


def _find(directory: Path, split: str, subset: str) -> list[Path]:
    if not directory.is_dir():
        raise UserError(
            f"dataset.path={directory}: no such directory; expected one that holds train.jsonl "
            "and test.jsonl."
        )
    for folder in (directory, directory / subset):
        for pattern in PATTERNS:
            if files := sorted(folder.glob(pattern.format(split=split))):
                return files
    raise UserError(
        f"dataset.path={directory}: there is no {split}.jsonl (nor .jsonl.gz or .parquet); "
        f"the directory holds {contents(directory)}."
    )


def _read(file: Path) -> Iterator[tuple[str, Row]]:
    if file.suffix != ".parquet":
        yield from read_jsonl(file)
        return
    import pyarrow.parquet

    try:
        rows = pyarrow.parquet.read_table(file).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise UserError(f"{file}: not a readable parquet file: {error}.") from None
    yield from ((f"{file}:{number}", row) for number, row in enumerate(rows, start=1))
