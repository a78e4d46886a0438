"""Verifies LaTeX and symbolic answers: numbers exactly and at once, the rest by math-verify.

math-verify reads what it can and hangs on some of that, so `latex` decides what it is asked, and it
runs in processes that are killed at a deadline. A timeout or fault gives the reward None, never 0.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from rlvr.verify import latex
from rlvr.verify.answers import REFERENCE_PREFIX, AnswerLines, BoxedAnswers, spoken
from rlvr.verify.markup import LONGEST_ANSWER, unwrap
from rlvr.verify.numeric import SHOWN, Tolerance, cached_number, written
from rlvr.verify.pool import Reply, WorkerPool
from rlvr.verify.verdict import Reason, Verdict

REMEMBERED = 1 << 16  # comparisons
MOST_MEMBERS = 32  # of a set that is answered in as many boxes

Pair = tuple[str, str]  # gold and answer


class MathVerifier:
    """Compares the one answer of a completion with the gold as mathematics.

    The answer stands after `answer_prefix`; with `answer_prefix: null` it is what stands in
    \\boxed{...}, or in several boxes when the gold is a set, tuple or list. Numbers within
    `relative_tolerance` or `absolute_tolerance` of a gold number are correct. `seconds` is the
    deadline of one comparison by math-verify, `workers` how many run at a time.
    """

    def __init__(
        self,
        answer_prefix: str | None = REFERENCE_PREFIX,
        relative_tolerance: float = 0.0,
        absolute_tolerance: float = 0.0,
        seconds: float = 5.0,
        workers: int = 2,
    ) -> None:
        self._boxed = answer_prefix is None
        self._answers = BoxedAnswers() if answer_prefix is None else AnswerLines(answer_prefix)
        self._tolerance = Tolerance(relative_tolerance, absolute_tolerance)
        self._pool = WorkerPool("rlvr.verify.math_worker", workers=workers, seconds=seconds)
        self._seen: OrderedDict[Pair, Reply | Reason] = OrderedDict()

    def canonical(self, gold: object) -> str:
        """A number in its one spelling, words as they are, else LaTeX that math-verify can read."""
        text = unwrap(written(gold))
        if not text or len(text) > LONGEST_ANSWER or len(text.splitlines()) > 1:
            raise ValueError(f"{gold!r} is not one line of at most {LONGEST_ANSWER} characters")
        number = cached_number(text)
        if number is not None or latex.is_words(latex.tidy(text)):
            return number or text
        reply = self._pool.ask([{"gold": text, "answer": None}])[0]
        if "parsed" not in reply:
            why = reply if isinstance(reply, Reason) else ", ".join(reply)
            raise ValueError(f"math-verify cannot read {gold!r} ({why})")
        return text

    def verify(
        self, completions: Sequence[str], golds: Sequence[str], **columns: Sequence[object]
    ) -> list[Verdict]:
        """One verdict per completion; ValueError when there are not as many golds."""
        rows = zip(completions, golds, strict=True)
        first = [self._judge(completion, gold) for completion, gold in rows]
        replies = self._compare(asked for asked in first if not isinstance(asked, Verdict))
        return [v if isinstance(v, Verdict) else _verdict(v[1], replies[v]) for v in first]

    def _judge(self, completion: str, gold: str) -> Verdict | Pair:
        """The verdict where no mathematics is needed, else what math-verify is to compare."""
        answers = _distinct(self._answers(spoken(completion)))
        if not answers:
            return Verdict(0.0, Reason.NO_ANSWER)
        if not isinstance(gold, str) or not gold:
            return Verdict(None, Reason.INFRA_ERROR, answers[0][:SHOWN], format_ok=True)
        if len(answers) > 1:
            return self._judge_several(answers, gold)
        return self._judge_one(answers[0], gold)

    def _judge_several(self, answers: list[str], gold: str) -> Verdict | Pair:
        opening, asked, closing = latex.members(latex.tidy(gold))
        if not self._boxed or len(answers) != len(asked):
            shown = " | ".join(answer[:SHOWN] for answer in answers)
            return Verdict(0.0, Reason.MULTIPLE_ANSWERS, shown)
        together = f"{opening}{', '.join(answers)}{closing}"
        said = [latex.spelled(latex.tidy(answer)) for answer in answers]
        if opening != "(" and sorted(said) == sorted(map(latex.spelled, asked)):
            return _plain_verdict(together, True)
        return self._judge_one(together, gold)

    def _judge_one(self, answer: str, gold: str) -> Verdict | Pair:
        if len(answer) > LONGEST_ANSWER:
            return Verdict(0.0, Reason.UNPARSEABLE, answer[:SHOWN])
        if (equal := self._equal_numbers(answer, gold)) is not None:
            return _plain_verdict(answer, equal)
        said, asked = latex.tidy(answer), latex.tidy(gold)
        if latex.spelled(said) == latex.spelled(asked):
            return _plain_verdict(answer, True)
        if latex.is_words(asked):
            return _plain_verdict(answer, False)
        bare, asked = latex.without_units(said), latex.without_units(asked) or asked
        if bare is None or latex.is_words(bare) or not latex.is_clear(bare, asked):
            return Verdict(0.0, Reason.UNPARSEABLE, answer[:SHOWN])
        return self._judge_expression(answer, bare, asked)

    def _judge_expression(self, answer: str, said: str, asked: str) -> Verdict | Pair:
        """The verdict on an answer that can be read in one way only."""
        said, asked = latex.with_products(said), latex.with_products(asked)
        if latex.relations(said) != latex.relations(asked):
            said, asked = latex.without_names(said), latex.without_names(asked)
        if (equal := self._equal_numbers(said, asked)) is not None:
            return _plain_verdict(answer, equal)
        if cached_number(asked) is not None and not latex.has_operation(said):
            return Verdict(0.0, Reason.UNPARSEABLE, answer[:SHOWN])
        if not latex.is_comparable(said, asked, cached_number(asked) is not None):
            return _plain_verdict(answer, False)
        return asked, said

    def _equal_numbers(self, answer: str, gold: str) -> bool | None:
        """Whether two numbers are equal; None when one of them is none."""
        said, asked = cached_number(answer), cached_number(gold)
        if said is None or asked is None:
            return None
        return self._tolerance.equal(said, asked)

    def _compare(self, pairs: Iterable[Pair]) -> dict[Pair, Reply | Reason]:
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


def _distinct(answers: Iterable[str]) -> list[str]:
    """The different answers, numbers in canonical spelling: at most one more than are compared."""
    distinct: dict[str, str] = {}
    for raw in dict.fromkeys(answers):
        answer = cached_number(raw) or unwrap(raw)
        short = len(answer) <= LONGEST_ANSWER
        distinct.setdefault(latex.spelled(latex.tidy(answer)) if short else answer, answer)
        if len(distinct) > MOST_MEMBERS:
            break
    return list(distinct.values())


def _plain_verdict(answer: str, right: bool) -> Verdict:
    reason = Reason.CORRECT if right else Reason.WRONG
    return Verdict(float(right), reason, answer, format_ok=True)


def _verdict(answer: str, reply: Reply | Reason) -> Verdict:
    if isinstance(reply, Reason):
        return Verdict(None, reply, answer, format_ok=True)
    if "equal" in reply:
        return _plain_verdict(answer, reply["equal"])
    if reply.get("unparseable") == "answer":
        return Verdict(0.0, Reason.UNPARSEABLE, answer[:SHOWN])
    return Verdict(None, Reason.INFRA_ERROR, answer, format_ok=True)
