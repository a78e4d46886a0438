"""From completions to verdicts: the one place where training and evaluation ask the verifier."""

from collections.abc import Mapping, Sequence
from typing import Any

from rlvr.errors import UserError, raised_at
from rlvr.sampling.stop import opens_thought
from rlvr.verify.verdict import Verdict, Verifier

# What a row holds besides the columns that a verifier may read.
NOT_COLUMNS = frozenset({"prompt", "gold", "index"})


def judge(
    verifier: Verifier, rows: Sequence[Mapping[str, Any]], texts: Sequence[str]
) -> list[Verdict]:
    """One verdict per completion; `rows` are the dataset's rows they answer, one each.

    `texts` are as a sampling engine returns them, cut by the stop rule. A completion whose prompt
    has opened a thought is judged as its continuation. UserError where the verifier itself is
    wrong: an exception is never a verdict.
    """
    if not texts:
        return []
    columns = {key: [row.get(key) for row in rows] for key in rows[0] if key not in NOT_COLUMNS}
    whole = [
        f"<think>{text}" if opens_thought(row["prompt"]) else text
        for row, text in zip(rows, texts, strict=True)
    ]
    name = type(verifier).__name__
    try:
        verdicts = verifier.verify(whole, [row["gold"] for row in rows], **columns)
    except Exception as error:  # whatever a user's own verifier raises
        raise UserError(
            f"verifier {name} raised {type(error).__name__}: {error} ({raised_at(error)})"
        ) from error
    if len(verdicts) != len(texts):
        raise UserError(
            f"verifier {name} returned {len(verdicts)} verdicts for {len(texts)} completions; "
            "expected one each."
        )
    return verdicts
