"""Rules that others judge GSM8K answers by, faults included: to measure with, never to train."""

import re
from collections.abc import Sequence

from rlvr.verify.verdict import Reason, Verdict

SHOWN = 80  # characters of an extracted answer kept in a verdict
PROMPT = "whole_prompt"  # the column that holds the prompt for a rule that searches it too


class ExtractedNumber:
    """What a rule reads out of the text, compared with the gold as strings."""

    def canonical(self, gold: object) -> str:
        return str(gold)

    def verify(
        self, completions: Sequence[str], golds: Sequence[str], **columns: Sequence[object]
    ) -> list[Verdict]:
        """One verdict per completion."""
        return [self._judge(c, g) for c, g in zip(completions, golds, strict=True)]

    def _judge(self, text: str, gold: str) -> Verdict:
        found = self.extract(text)
        if found is None:
            return Verdict(0.0, Reason.NO_ANSWER)
        if self.normal(found) == self.normal(gold):
            return Verdict(1.0, Reason.CORRECT, found[:SHOWN], True)
        return Verdict(0.0, Reason.WRONG, found[:SHOWN], True)

    def extract(self, text: str) -> str | None:
        raise NotImplementedError

    def normal(self, answer: str) -> str:
        return answer


class StrictMatch(ExtractedNumber):
    """The first number right behind `#### `.

    Filter `strict-match` of lm-evaluation-harness's task gsm8k (version 3.0, in lm_eval 0.4.13),
    and what its exact_match leaves out of both texts: commas, dollars, one full stop at the end.
    """

    _number = re.compile(r"#### (-?[0-9.,]+)")

    def extract(self, text: str) -> str | None:
        found = self._number.search(text)
        return found[1] if found else None

    def normal(self, answer: str) -> str:
        return re.sub(r"\.$", "", answer.replace(",", "").replace("$", ""))

    def can_read(self, answer_prefix: str) -> bool:
        """Whether answers behind this prefix are in the form that the rule looks for."""
        return self.extract(f"{answer_prefix} 7") == "7"


class FlexibleExtract(StrictMatch):
    """The last number anywhere: filter `flexible-extract` of the same task.

    Two characters of `$0-9.,` make a number, so that "5. ..." ends in the number "...".
    """

    _number = re.compile(r"-?[$0-9.,]{2,}|-?[0-9]+")

    def extract(self, text: str) -> str | None:
        found = self._number.findall(text)
        return found[-1] if found else None


class LastInteger(ExtractedNumber):
    """The last integer of prompt and completion together.

    So the reference post's notebook judges (aws-samples/amazon-sagemaker-generativeai, 4fbf6aa),
    on completions that nothing stops: an invented next question decides, and where a model says
    no number the prompt does. "1,080" is 80 and "18.00" is 0.
    """

    _number = re.compile(r"-?\d+")

    def verify(
        self, completions: Sequence[str], golds: Sequence[str], **columns: Sequence[object]
    ) -> list[Verdict]:
        prompts = columns[PROMPT]
        whole = [f"{p}{c}" for p, c in zip(prompts, completions, strict=True)]
        return super().verify(whole, golds)

    def extract(self, text: str) -> str | None:
        found = self._number.findall(text)
        return found[-1] if found else None
