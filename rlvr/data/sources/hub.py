"""The questions of any dataset on the Hugging Face hub, or of a local JSONL copy of it."""

from pathlib import Path

from rlvr.data.hub import hub_rows
from rlvr.data.rows import Row, read_jsonl
from rlvr.data.sources.jsonl import parse_row


def load(
    *,
    path: str | None,
    seed: int,
    hub_id: str,
    subset: str | None = None,
    split: str = "test",
    revision: str | None = None,
    question: str = "question",
    answer: str = "answer",
) -> dict[str, list[Row]]:
    """The rows of one split as `test`, for evaluation; `seed` changes nothing. Raises UserError.

    `question` and `answer` name the columns; all others are kept.
    """
    if path is None:
        raw = hub_rows(hub_id, subset, revision, [split])[split]
    else:
        raw = read_jsonl(Path(path).expanduser())
    return {"test": [parse_row(row, where, question, answer) for where, row in raw]}
