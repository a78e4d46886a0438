"""Verifies answers that are text: the answer line must hold exactly the gold answer."""

from collections.abc import Sequence

from rlvr.verify.answers import REFERENCE_PREFIX, AnswerLines, spoken
from rlvr.verify.markup import without_emphasis
from rlvr.verify.verdict import Reason, Verdict


class ExactVerifier:
    """Compares the rest of the answer line with the gold, character by character.

    Only the amount of white space does not matter, nor emphasis around the whole (**, _, `).
    Several answer lines count when they agree.
    """

    def __init__(self, answer_prefix: str = REFERENCE_PREFIX) -> None:
        self._lines = AnswerLines(answer_prefix)

    def canonical(self, gold: object) -> str:
        """One line of text with single spaces; ValueError for anything else."""
        if isinstance(gold, bool) or not isinstance(gold, str | int | float):
            raise ValueError("expected one line of text or a number")
        text = str(gold).strip()
        if not text or len(text.splitlines()) > 1:
            raise ValueError("expected one line of text that is not empty")
        return _plain(text)

    def verify(
        self, completions: Sequence[str], golds: Sequence[str], **columns: Sequence[object]
    ) -> list[Verdict]:
        """One verdict per completion; ValueError when there are not as many golds."""
        return [self._judge(c, g) for c, g in zip(completions, golds, strict=True)]

    def _judge(self, completion: str, gold: str) -> Verdict:
        lines = self._lines(spoken(completion))
        answers = dict.fromkeys(_plain(line) for line in lines)
        if not answers:
            return Verdict(0.0, Reason.NO_ANSWER)
        if len(answers) > 1:
            return Verdict(0.0, Reason.MULTIPLE_ANSWERS, " | ".join(answers))
        answer = next(iter(answers))
        if gold in (answer, without_emphasis(answer)):
            return Verdict(1.0, Reason.CORRECT, answer, format_ok=True)
        return Verdict(0.0, Reason.WRONG, answer, format_ok=True)


def _plain(text: str) -> str:
    return " ".join(text.split())
