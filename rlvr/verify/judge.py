"""From completions to verdicts: the one place where training and evaluation ask the verifier."""

from collections.abc import Mapping, Sequence
from typing import Any

from rlvr.errors import UserError, defined_at, failure
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
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # whatever a user's own verifier raises
        raise UserError(f"verifier {name} {failure(error)}") from error
    return _checked(f"{name} ({defined_at(verifier.verify)})", verdicts, len(texts))


def _checked(name: str, verdicts: Any, count: int) -> list[Verdict]:
    expected = f"expected a list of {count} rlvr.verify.verdict.Verdict, one per completion"
    if not isinstance(verdicts, Sequence) or len(verdicts) != count:
        got = len(verdicts) if isinstance(verdicts, Sequence) else type(verdicts).__name__
        raise UserError(f"verifier {name} returned {got}; {expected}.")
    for verdict in verdicts:
        if not isinstance(verdict, Verdict):
            raise UserError(f"verifier {name} returned {verdict!r}; {expected}.")
    return list(verdicts)
