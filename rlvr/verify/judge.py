"""From completions to verdicts: the one place where training and evaluation ask the verifier."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Self

from rlvr.errors import UserError, defined_at, failure
from rlvr.sampling.stop import opens_thought
from rlvr.verify.verdict import Submit, Verdict, Verifier

# What a row holds besides the columns that a verifier may read.
NOT_COLUMNS = frozenset({"prompt", "gold", "index"})


class Begun:
    """Completions of one batch whose judging begins while the rest of it is sampled, where their
    verifier can. A context manager: what an exception leaves behind is not waited for."""

    def __init__(self, verifier: Verifier, rows: Sequence[Mapping[str, Any]]) -> None:
        self._verifier, self._rows, self._open = verifier, rows, ExitStack()
        self._submit: Submit | None = None
        if begin := getattr(verifier, "begin", None):
            self._submit = self._open.enter_context(begin())
        self.waiting: dict[int, Callable[[], Verdict]] = {}

    def add(self, number: int, text: str) -> None:
        """Row `number` says `text`, as its engine will return it."""
        if self._submit is not None:
            (whole,), (gold,), columns = _asked([self._rows[number]], [text])
            with _named(self._verifier):
                self.waiting[number] = self._submit(
                    whole, gold, **{key: value for key, (value,) in columns.items()}
                )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: Any) -> None:
        self._open.__exit__(*exception)


def judge(
    verifier: Verifier,
    rows: Sequence[Mapping[str, Any]],
    texts: Sequence[str],
    begun: Begun | None = None,
) -> list[Verdict]:
    """One verdict per completion; `rows` are the dataset's rows they answer, one each.

    `texts` are as a sampling engine returns them, cut by the stop rule; those that are `begun` are
    waited for. A completion whose prompt has opened a thought is judged as its continuation.
    UserError where the verifier itself is wrong: an exception is never a verdict.
    """
    waiting = begun.waiting if begun is not None else {}
    left = [number for number in range(len(texts)) if number not in waiting]
    verdicts: dict[int, Any] = {}
    with _named(verifier):
        if left:
            wholes, golds, columns = _asked([rows[i] for i in left], [texts[i] for i in left])
            found = verifier.verify(wholes, golds, **columns)
            verdicts = dict(zip(left, _checked(verifier, found, len(left)), strict=True))
        verdicts |= {number: wait() for number, wait in waiting.items()}
    return _checked(verifier, [verdicts[number] for number in range(len(texts))], len(texts))


def _asked(
    rows: Sequence[Mapping[str, Any]], texts: Sequence[str]
) -> tuple[list[str], list[Any], dict[str, list[Any]]]:
    """What a verifier is given: completions, golds and columns."""
    columns = {key: [row.get(key) for row in rows] for key in rows[0] if key not in NOT_COLUMNS}
    whole = [
        f"<think>{text}" if opens_thought(row["prompt"]) else text
        for row, text in zip(rows, texts, strict=True)
    ]
    return whole, [row["gold"] for row in rows], columns


@contextmanager
def _named(verifier: Verifier) -> Iterator[None]:
    """UserError with the verifier's name for whatever a user's own raises."""
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"verifier {type(verifier).__name__} {failure(error)}") from error


def _checked(verifier: Verifier, verdicts: Any, count: int) -> list[Verdict]:
    name = f"{type(verifier).__name__} ({defined_at(verifier.verify)})"
    expected = f"expected a list of {count} rlvr.verify.verdict.Verdict, one per completion"
    if not isinstance(verdicts, Sequence) or len(verdicts) != count:
        got = len(verdicts) if isinstance(verdicts, Sequence) else type(verdicts).__name__
        raise UserError(f"verifier {name} returned {got}; {expected}.")
    for verdict in verdicts:
        if not isinstance(verdict, Verdict):
            raise UserError(f"verifier {name} returned {verdict!r}; {expected}.")
    return list(verdicts)
