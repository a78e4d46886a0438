"""The same questions under the rules of others, and where a gain is there under one rule alone.

A rule is one more task: the same prompts, so that answers in the store are judged anew and not
asked again, unless the rule needs answers that nothing has stopped.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from omegaconf import DictConfig

from rlvr.config.schema import Protocol
from rlvr.errors import UserError
from rlvr.evaluation.rules import (
    PROMPT,
    ExtractedNumber,
    FlexibleExtract,
    LastInteger,
    StrictMatch,
)
from rlvr.evaluation.score import Rows, shares
from rlvr.evaluation.statistics import LEVEL, difference_interval, holm, paired_test
from rlvr.evaluation.tasks import MAIN, PROTOCOL, Task
from rlvr.sampling.stop import StopRule

RULES: dict[Protocol, dict[str, ExtractedNumber]] = {
    Protocol.default: {},  # the run's own task
    Protocol.lm_eval_gsm8k: {
        "lm_eval_gsm8k.strict-match": StrictMatch(),
        "lm_eval_gsm8k.flexible-extract": FlexibleExtract(),
    },
    Protocol.reference_post: {"reference_post": LastInteger()},
}
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def protocol_tasks(cfg: DictConfig, own: Task) -> list[Task]:
    """A task for each rule of `eval.protocols`, with the questions of the run's own."""
    rules = {name: rule for p in cfg.eval.protocols for name, rule in RULES[Protocol(p)].items()}
    if rules:
        _check_golds(own)
    return [_task(name, rule, cfg, own) for name, rule in rules.items()]


def _task(name: str, rule: ExtractedNumber, cfg: DictConfig, own: Task) -> Task:
    if isinstance(rule, LastInteger):
        asked = [{**question, PROMPT: question["prompt"]} for question in own.questions]
        return Task(f"{PROTOCOL}{name}", asked, rule, StopRule())
    other_form = _other_form(rule, cfg.dataset.prompt.answer_prefix)
    return Task(f"{PROTOCOL}{name}", own.questions, rule, own.stop, other_form)


def _check_golds(own: Task) -> None:
    for question in own.questions:
        if not NUMBER.fullmatch(str(question["gold"])):
            raise UserError(
                f"eval.protocols: these rules compare whole and decimal numbers, and the gold "
                f"answer {question['gold']!r} of question {question['index']} is none "
                f"({question['question'][:80]!r}); use eval.protocols=[default] for this dataset."
            )


def _other_form(rule: ExtractedNumber, answer_prefix: str) -> str | None:
    if not isinstance(rule, StrictMatch) or rule.can_read(answer_prefix):
        return None
    return (
        f"it takes the number right behind '#### ', the prompt asks for '{answer_prefix} N' "
        "(dataset.prompt.answer_prefix)"
    )


@dataclass(frozen=True)
class Gap:
    """The gain under a rule less the gain under the default one, as shares of one.

    Paired on the `n` questions that both could judge: 95 % bootstrap interval, and the p value of
    the exact sign test, Holm's over the rules of a run.
    """

    points: float
    low: float
    high: float
    n: int
    p_value: float


@dataclass(frozen=True)
class Gain:
    """Right answers to the questions that a rule judged before and after training, both (n,)."""

    base: list[float]
    trained: list[float]

    @property
    def mean(self) -> float:
        return fmean(self.trained) - fmean(self.base)

    @property
    def of_each(self) -> list[float]:
        return [t - b for b, t in zip(self.base, self.trained, strict=True)]


def add_gaps(
    protocols: dict[str, dict[str, Any]], base: Mapping[str, Rows], trained: Mapping[str, Rows]
) -> list[str]:
    """Fill in `gap` and `warning` of each rule from rows by task; returns the warnings.

    A rule that looks for another form of answer has neither.
    """
    pairs = {
        name: _gains([rows[task] for task in (MAIN, PROTOCOL + name) for rows in (base, trained)])
        for name, found in protocols.items()
        if not found.get("other_form")
    }
    pairs = {name: pair for name, pair in pairs.items() if pair[0].base}
    tests = [paired_test(default.of_each, gain.of_each).p_value for default, gain in pairs.values()]
    for (name, (default, gain)), p_value in zip(pairs.items(), holm(tests), strict=True):
        interval = difference_interval(default.of_each, gain.of_each)
        n = len(gain.base)
        gap = Gap(gain.mean - default.mean, interval.low, interval.high, n, p_value)
        protocols[name] |= {"gap": asdict(gap), "warning": _warning(name, default, gain, gap)}
    return [found["warning"] for found in protocols.values() if found.get("warning")]


def _gains(rows: list[Rows]) -> tuple[Gain, Gain]:
    """Under the default and under another rule (rows: base and trained of each), of the questions
    that all four could judge."""
    known = [found for found in zip(*map(shares, rows), strict=True) if None not in found]
    columns: list[list[Any]] = [[found[place] for found in known] for place in range(4)]
    return Gain(columns[0], columns[1]), Gain(columns[2], columns[3])


def _warning(name: str, default: Gain, gain: Gain, gap: Gap) -> str | None:
    here, there = 100 * gain.mean, 100 * default.mean
    detail = (
        f"{100 * gap.points:+.1f} points (95 % interval {100 * gap.low:+.1f} to "
        f"{100 * gap.high:+.1f}) on the same {gap.n} questions"
    )
    if _claimed(gain) and not _claimed(default) and not _allows(default, gain.mean):
        return (
            f"the gain of {here:.1f} points under {name} is not there under the default rule "
            f"({there:+.1f}): a difference of {detail}"
        )
    if gap.p_value < LEVEL:
        return (
            f"training changed accuracy by {here:+.1f} points under {name} and by {there:+.1f} "
            f"under the default rule: a difference of {detail}, more than chance"
        )
    return None


def _claimed(gain: Gain) -> bool:
    """Whether one would speak of a gain: better, and by more than chance."""
    return gain.mean > 0 and paired_test(gain.base, gain.trained).p_value < LEVEL


def _allows(gain: Gain, mean: float) -> bool:
    return mean <= difference_interval(gain.base, gain.trained).high
