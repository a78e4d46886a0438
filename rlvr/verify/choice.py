"""Verifies multiple choice: the letter on the answer line, or the text of a choice."""

import re
from collections.abc import Sequence

from rlvr.errors import UserError
from rlvr.verify.answers import REFERENCE_PREFIX, AnswerLines, BoxedAnswers, spoken
from rlvr.verify.markup import EDGE, LONGEST_ANSWER, plain
from rlvr.verify.numeric import SHOWN
from rlvr.verify.verdict import Reason, Verdict

_OPENING = r"(?:(?:the )?(?:correct )?(?:answer|option|choice)(?: is)?:? )?"


class ChoiceVerifier:
    """Compares the one choice of a completion with the gold letter.

    A choice is its letter ("B", "(B)", "B.", "option B"), the letter with its text ("B) Paris"), or
    the text alone when the dataset has a column `choices`: for each question a list of texts, in
    the order of `letters`. The answer stands after `answer_prefix`, or in \\boxed{...} when that
    is None.
    """

    def __init__(
        self, answer_prefix: str | None = REFERENCE_PREFIX, letters: str = "ABCDEFGHIJ"
    ) -> None:
        if not letters.isalnum() or len(set(letters.upper())) != len(letters):
            raise UserError(f"letters={letters!r}: different letters or digits are expected.")
        self._letters = letters.upper()
        self._answers = BoxedAnswers() if answer_prefix is None else AnswerLines(answer_prefix)
        letter = f"[{self._letters}]"
        # "B) Paris" has a text, "B or C" and "B is wrong" have none: a mark must stand between.
        self._choice = re.compile(
            rf"{_OPENING}(?:\(({letter})\)\.?|({letter})(?:[.):]| -(?= )|$))(?:[ :-]+(.+))?",
            re.IGNORECASE,
        )
        others = rf"\({letter}\)|\b{letter}[.):]|\b{letter}\b(?! [a-z])"
        self._not_a_text = re.compile(rf"{others}|\b(?i:not|wrong|incorrect|maybe|perhaps)\b")

    def canonical(self, gold: object) -> str:
        """The letter of "B", "(b)" or "B."; ValueError for anything else."""
        choice = self._choice.fullmatch(gold.strip()) if isinstance(gold, str) else None
        if choice is None or choice[3]:
            raise ValueError(f"{gold!r} is not one of the letters {', '.join(self._letters)}")
        return (choice[1] or choice[2]).upper()

    def verify(
        self, completions: Sequence[str], golds: Sequence[str], **columns: Sequence[object]
    ) -> list[Verdict]:
        """One verdict per completion; ValueError when there are not as many golds or choices."""
        choices = columns.get("choices", [None] * len(completions))
        rows = zip(completions, golds, choices, strict=True)
        return [self._judge(text, gold, self._texts(listed)) for text, gold, listed in rows]

    def _texts(self, listed: object) -> dict[str, str]:
        """Each choice's text, in its bare form, with its letter."""
        if listed is None:
            return {}
        if isinstance(listed, str) or not isinstance(listed, Sequence):
            raise UserError(f"The column choices holds {listed!r}: a list of texts is expected.")
        if len(listed) > len(self._letters):
            raise UserError(
                f"The column choices holds {len(listed)} texts, for the letters {self._letters}: "
                "give dataset.verifier.letters as many."
            )
        bare = [_bare(str(text)) for text in listed]
        return {text: self._letters[i] for i, text in enumerate(bare) if bare.count(text) == 1}

    def _judge(self, completion: str, gold: str, texts: dict[str, str]) -> Verdict:
        chosen: dict[str | None, str] = {}
        for answer in self._answers(spoken(completion)):
            chosen.setdefault(self._letter(answer, texts), answer[:SHOWN])
            if len(chosen) > 1:
                return Verdict(0.0, Reason.MULTIPLE_ANSWERS, " | ".join(chosen.values()))
        if not chosen:
            return Verdict(0.0, Reason.NO_ANSWER)
        letter, shown = chosen.popitem()
        if letter is None:
            return Verdict(0.0, Reason.UNPARSEABLE, shown)
        right = letter == gold
        reason = Reason.CORRECT if right else Reason.WRONG
        return Verdict(float(right), reason, letter, format_ok=True)

    def _letter(self, answer: str, texts: dict[str, str]) -> str | None:
        """The letter that an answer chooses, or None when it is not exactly one."""
        if len(answer) > LONGEST_ANSWER:
            return None
        choice = self._choice.fullmatch(" ".join(plain(answer).replace(EDGE, "").split()))
        if choice is None:
            return texts.get(_bare(answer))
        letter, text = (choice[1] or choice[2]).upper(), choice[3]
        if not text or not texts:
            return None if text and self._not_a_text.search(text) else letter
        return letter if texts.get(_bare(text)) == letter else texts.get(_bare(answer))


def _bare(text: str) -> str:
    """Text without case, mark-up, white space and a full stop."""
    return " ".join(plain(text[:LONGEST_ANSWER]).replace(EDGE, "").split()).rstrip(".").casefold()
