"""A verifier of your own: the last word of a completion must be the gold answer."""

from collections.abc import Sequence

from rlvr.verify.verdict import Reason, Verdict


class LastWord:
    """Case and the punctuation around the word do not matter, unless `case` is set."""

    def __init__(self, case: bool = False) -> None:
        self.case = case

    def canonical(self, gold: object) -> str:
        """The one spelling of a gold answer; a ValueError says why it is none."""
        if not isinstance(gold, str) or len(gold.split()) != 1:
            raise ValueError("expected one word")
        return self._plain(gold)

    def verify(
        self, completions: Sequence[str], golds: Sequence[str], **columns: Sequence[object]
    ) -> list[Verdict]:
        """One verdict per completion."""
        return [self._judge(text, gold) for text, gold in zip(completions, golds, strict=True)]

    def _judge(self, text: str, gold: str) -> Verdict:
        words = text.split()
        if not words:
            return Verdict(0.0, Reason.NO_ANSWER)
        word = self._plain(words[-1])
        # without this `rlvr check` refuses the verifier: it would pay "not Paris"
        denied = len(words) > 1 and words[-2].casefold() in ("not", "no", "never")
        if word == gold and not denied:
            return Verdict(1.0, Reason.CORRECT, word, format_ok=True)
        return Verdict(0.0, Reason.WRONG, word, format_ok=True)

    def _plain(self, word: str) -> str:
        word = word.strip().strip(".,;:!?\"'()")
        return word if self.case else word.casefold()
