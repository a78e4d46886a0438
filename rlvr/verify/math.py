"""Verifies LaTeX and symbolic answers: numbers exactly and at once, the rest by math-verify.

math-verify hangs on some inputs and must not run in a thread, so it runs in processes that are
killed at a deadline. A timeout or fault gives the reward None, never 0.
"""

import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from rlvr.sampling.stop import StopRule
from rlvr.verify.answers import REFERENCE_PREFIX, RUN_ON, AnswerLines, BoxedAnswers, spoken
from rlvr.verify.numbers import LONGEST_NUMBER, NOT_UNITS, unwrap
from rlvr.verify.numeric import SHOWN, cached_number, written
from rlvr.verify.pool import Reply, WorkerPool
from rlvr.verify.verdict import Reason, Verdict

REMEMBERED = 1 << 16  # comparisons
_COMMAND = re.compile(r"\\[A-Za-z]+(?:\{[A-Za-z ]*\})?")
_WORD = re.compile(r"[A-Za-z]{3,}|[0-9][A-Za-z]+[0-9]")
# Latin words that are mathematics even without a backslash.
_FUNCTIONS = frozenset("sin cos tan cot sec csc log exp sqrt max min gcd lcm det arcsin".split())
_TEXT = re.compile(r"\\(?:text|mathrm|textbf|textrm|mbox|operatorname)\s?\{([^{}]*)\}")


class MathVerifier:
    """Compares the one answer of a completion with the gold as mathematics.

    The answer stands after `answer_prefix`; with `answer_prefix: null` it is what stands in
    \\boxed{...}. `seconds` is the deadline of one comparison, `workers` how many run at a time.
    """

    def __init__(
        self,
        answer_prefix: str | None = REFERENCE_PREFIX,
        seconds: float = 5.0,
        workers: int = 2,
        stop: StopRule | None = RUN_ON,
    ) -> None:
        self._answers = BoxedAnswers() if answer_prefix is None else AnswerLines(answer_prefix)
        self._pool = WorkerPool("rlvr.verify.math_worker", workers=workers, seconds=seconds)
        self._seen: OrderedDict[tuple[str, str], Reply | Reason] = OrderedDict()
        self._stop = stop

    def canonical(self, gold: object) -> str:
        """A number in its one spelling, words as they are, else LaTeX that math-verify can read."""
        text = unwrap(written(gold))
        if not text or len(text) > LONGEST_NUMBER or len(text.splitlines()) > 1:
            raise ValueError(f"{gold!r} is not one line of at most {LONGEST_NUMBER} characters")
        number = cached_number(text)
        if number is not None or _is_words(text):
            return number or text
        reply = self._pool.ask([{"gold": text, "answer": None}])[0]
        if "parsed" not in reply:
            why = reply if isinstance(reply, Reason) else ", ".join(reply)
            raise ValueError(f"math-verify cannot read {gold!r} ({why})")
        return text

    def verify(
        self, completions: Sequence[object], golds: Sequence[str], **columns: Sequence[object]
    ) -> list[Verdict]:
        """One verdict per completion; ValueError when there are not as many golds."""
        pairs = list(zip(completions, golds, strict=True))
        first = [self._judge(completion, gold) for completion, gold in pairs]
        replies = self._compare([found for found in first if isinstance(found, tuple)])
        return [_verdict(f[1], replies[f]) if isinstance(f, tuple) else f for f in first]

    def _judge(self, completion: object, gold: str) -> Verdict | tuple[str, str]:
        """The verdict where no mathematics is needed, else gold and answer."""
        answer = _one_answer(self._answers(spoken(completion, self._stop)))
        if isinstance(answer, Verdict):
            return answer
        if not isinstance(gold, str) or not gold:
            return Verdict(None, Reason.INFRA_ERROR, answer, format_ok=True)
        if _tight(answer) == _tight(gold):
            return Verdict(1.0, Reason.CORRECT, answer, format_ok=True)
        if _is_words(gold) or None not in (cached_number(answer), cached_number(gold)):
            return Verdict(0.0, Reason.WRONG, answer, format_ok=True)
        if _is_words(answer) or len(answer) > LONGEST_NUMBER:
            return Verdict(0.0, Reason.UNPARSEABLE, answer[:SHOWN])
        return gold, answer

    def _compare(self, pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Reply | Reason]:
        """Replies to all pairs; only those never seen before cost a comparison."""
        distinct = list(dict.fromkeys(pairs))
        new = [pair for pair in distinct if pair not in self._seen]
        replies = {pair: self._seen[pair] for pair in distinct if pair in self._seen}
        asked = self._pool.ask([{"gold": gold, "answer": answer} for gold, answer in new])
        replies.update(zip(new, asked, strict=True))
        for pair in new:
            if replies[pair] is not Reason.INFRA_ERROR and "error" not in replies[pair]:
                self._seen[pair] = replies[pair]
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return replies


def _one_answer(answers: Iterable[str]) -> str | Verdict:
    """The one distinct answer, numbers in canonical spelling, or the verdict without one."""
    distinct: dict[str, str] = {}
    for raw in answers:
        answer = cached_number(raw) or unwrap(raw)
        distinct.setdefault(_tight(answer)[:LONGEST_NUMBER], answer)
        if len(distinct) > 1:
            shown = " | ".join(value[:SHOWN] for value in distinct.values())
            return Verdict(0.0, Reason.MULTIPLE_ANSWERS, shown)
    return next(iter(distinct.values()), Verdict(0.0, Reason.NO_ANSWER))


def _tight(latex: str) -> str:
    """LaTeX without white space and text commands; equal means the same answer."""
    return re.sub(r"\s+", "", _TEXT.sub(r"\1", latex))


def _is_words(latex: str) -> bool:
    """Whether it is prose, which math-verify would read as a product of letters."""
    if _TEXT.fullmatch(latex):
        return True
    return any(_is_prose(word) for word in _WORD.findall(_COMMAND.sub(" ", latex)))


def _is_prose(word: str) -> bool:
    """Products of three letters (abc) are common in mathematics, of four hardly."""
    if word.isalpha() and len(word) == 3:
        return word.lower() in NOT_UNITS - _FUNCTIONS
    return word.lower() not in _FUNCTIONS


def _verdict(answer: str, reply: Reply | Reason) -> Verdict:
    if isinstance(reply, Reason):
        return Verdict(None, reply, answer, format_ok=True)
    if "equal" in reply:
        right = reply["equal"]
        reason = Reason.CORRECT if right else Reason.WRONG
        return Verdict(float(right), reason, answer, format_ok=True)
    if reply.get("unparseable") == "answer":
        return Verdict(0.0, Reason.UNPARSEABLE, answer[:SHOWN])
    return Verdict(None, Reason.INFRA_ERROR, answer, format_ok=True)
