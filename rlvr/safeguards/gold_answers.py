"""The first half of the pre-flight check: right answers are paid and wrong ones are not.

It needs no model: the completions are gold answers as the prompt writes them, and spoilt ones.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from rlvr.config.steps import Steps
from rlvr.errors import UserError
from rlvr.rewards.controls import control_names
from rlvr.rewards.functions import Rewards
from rlvr.rewards.reward import Reward
from rlvr.safeguards import latency
from rlvr.safeguards.latency import Latency
from rlvr.safeguards.paying import Rows, mean, pay, tail, total
from rlvr.safeguards.preflight import TOTAL, Preflight
from rlvr.safeguards.spoilt import GOLD, SPOILT, completions
from rlvr.sampling.stop import opens_thought
from rlvr.verify.judge import judge
from rlvr.verify.verdict import Reason, Verdict

if TYPE_CHECKING:
    from datasets import Dataset

    from rlvr.data.load import Splits

log = logging.getLogger(__name__)

QUESTIONS = 64  # spread over the training split
LEAST_QUESTIONS = 8  # where rewards are slow
SECONDS = 60.0  # that the check may take before it tries fewer questions
TOLERATED = 0.1  # of spoilt answers: some tasks have several right ones
CLOSE = 1e-6


@dataclass(frozen=True)
class Answers:
    """One way to answer: the questions (by number) that it suits, and what they are answered."""

    questions: list[int]
    rows: Rows
    texts: list[str]
    verdicts: list[Verdict]


Paid = Mapping[str, Rewards]  # by way of answering, one reward per completion


def check_golds(rewards: Sequence[Reward], splits: "Splits", steps: Steps) -> Preflight:
    """Try every reward on gold answers and on spoilt ones; what is wrong is in the findings."""
    rows = spread(splits.train, QUESTIONS)
    latencies = _latencies(rewards, splits, rows)
    described = {reward.__name__: str(reward) for reward in rewards}
    for name, problem in latency.slow(latencies, steps).items():
        log.warning("%s %s", described.get(name, name), problem)
    rows = spread(splits.train, _affordable(latencies.values()))
    weights = {reward.__name__: reward.weight for reward in rewards}
    report = Preflight(
        len(rows), weights, control_names(rewards), time=latency.summary(latencies, steps)
    )
    answers = _answers(splits, rows)
    tried = [_try(reward, answers) for reward in rewards]
    paid = {n: ways for n, ways in zip(weights, tried, strict=True) if not isinstance(ways, str)}
    report.findings = [problem for problem in tried if isinstance(problem, str)]
    if not report.findings:
        by_weight = [*weights.values()]
        paid[TOTAL] = {way: total([paid[n][way] for n in weights], by_weight) for way in answers}
        report.findings = [*_underpaid_golds(rewards, paid, answers[GOLD])]
        if not report.control:
            report.findings += _wrongly_paid(rewards, paid, answers, bool(report.findings))
    report.paid = {n: {way: mean(r) for way, r in ways.items()} for n, ways in paid.items()}
    return report


def spread(data: "Dataset", count: int) -> Rows:
    """At most `count` rows at equal distances."""
    count = min(count, len(data))
    return [data[i * len(data) // count] for i in range(count)]


def _latencies(rewards: Sequence[Reward], splits: "Splits", rows: Rows) -> dict[str, Latency]:
    """Of the verifier and of every reward that can be called at all."""
    rows = [rows[i % len(rows)] for i in range(2 + latency.FEW)]
    texts = list(_written(splits, rows)[GOLD].values())
    verdicts: list[Verdict] = []

    def verify(numbers: Sequence[int]) -> None:
        verdicts.extend(
            judge(splits.verifier, [rows[i] for i in numbers], [texts[i] for i in numbers])
        )

    def pays(reward: Reward, numbers: Sequence[int]) -> None:
        known = [verdicts[i] for i in numbers]
        pay(reward, [rows[i] for i in numbers], [texts[i] for i in numbers], known)

    latencies = {"the verifier": latency.measure(verify)}
    for reward in rewards:
        with suppress(UserError):  # which `_try` finds again and reports
            latencies[reward.__name__] = latency.measure(partial(pays, reward))
    return latencies


def _affordable(latencies: Iterable[Latency]) -> int:
    """How many questions can be tried in SECONDS, within bounds."""
    each = sum(known.completion for known in latencies) * (1 + len(SPOILT))
    return QUESTIONS if each * QUESTIONS < SECONDS else max(LEAST_QUESTIONS, int(SECONDS / each))


def _answers(splits: "Splits", rows: Rows) -> dict[str, Answers]:
    """By way of answering."""
    answers = {}
    for way, texts in _written(splits, rows).items():
        answered = [rows[i] for i in texts]
        verdicts = judge(splits.verifier, answered, [*texts.values()])
        answers[way] = Answers([*texts], answered, [*texts.values()], verdicts)
    return answers


def _written(splits: "Splits", rows: Rows) -> dict[str, dict[int, str]]:
    """Completions by way of answering and number of the question, cut as an engine cuts them."""
    texts: dict[str, dict[int, str]] = {way: {} for way in (GOLD, *SPOILT)}
    golds = [row["gold"] for row in rows]
    for number, row in enumerate(rows):
        others = golds[number + 1 :] + golds[:number]
        other = next((gold for gold in others if gold != row["gold"]), row["gold"])
        for way, text in completions(splits.prompt_builder, splits.verifier, row, other).items():
            texts[way][number] = splits.stop.cut(text, opens_thought(row["prompt"]))
    return {way: written for way, written in texts.items() if written}


def _try(reward: Reward, answers: Mapping[str, Answers]) -> Paid | str:
    """What `reward` pays to each completion, by way of answering, or what is wrong with it."""
    gold = answers[GOLD]
    try:
        paid = {way: pay(reward, a.rows, a.texts, a.verdicts) for way, a in answers.items()}
    except UserError as error:
        return str(error)
    try:  # it may happen after hours, and must not end the run then
        pay(reward, gold.rows[:1], gold.texts[:1], [Verdict(None, Reason.TIMEOUT)])
    except UserError as error:
        return f"{error} Here the verifier has failed: verdict.reward is None, as it may be."
    return paid


def _underpaid_golds(
    rewards: Sequence[Reward], paid: Mapping[str, Paid], golds: Answers
) -> Iterator[str]:
    """Format and correctness must pay 1; nobody knows the most that a user's own reward pays."""
    for reward in rewards:
        values = paid[reward.__name__][GOLD]
        underpaid = [i for i, value in enumerate(values) if value is None or value < 1 - CLOSE]
        if not underpaid or reward.weight <= 0 or not reward.pays_gold_in_full:
            continue
        first = underpaid[0]
        yield (
            f"reward {reward.__name__!r} does not pay the gold answer in full for "
            f"{len(underpaid)} of {len(values)} questions: for example {values[first]} of 1, "
            f"verdict {golds.verdicts[first].reason.value}, for the gold "
            f"{golds.rows[first]['gold']!r} written as {tail(golds.texts[first])!r}. "
            "dataset.prompt.answer_prefix, dataset.verifier and dataset.stop must agree."
        )


def _wrongly_paid(
    rewards: Sequence[Reward],
    paid: Mapping[str, Paid],
    answers: Mapping[str, Answers],
    golds_are_known: bool,
) -> list[str]:
    """Findings on wrong answers that are paid and, unless known, on gold ones that are not: of the
    total, since a reward may pay for something else; where it is at fault, of each reward."""
    wrong = _paid_wrong_answers(paid[TOTAL], answers)
    unpaid = _unpaid_golds("the rewards together", paid[TOTAL], answers[GOLD])
    if golds_are_known or not (wrong or unpaid):
        return wrong
    judging = [reward for reward in rewards if reward.weight > 0 and not reward.only_format]
    blamed = [_unpaid_golds(str(r), paid[r.__name__], answers[GOLD]) for r in judging]
    return ([finding for findings in blamed for finding in findings] or unpaid) + wrong


def _without_none(paid: Paid) -> tuple[Mapping[str, list[float]], float]:
    """What is paid, and the least of it, which None counts as."""
    least = min((v for rewards in paid.values() for v in rewards if v is not None), default=0.0)
    return {w: [least if v is None else v for v in rewards] for w, rewards in paid.items()}, least


def _unpaid_golds(who: str, paid: Paid, golds: Answers) -> list[str]:
    """One finding where many gold answers get no more than the worst completion."""
    earned, least = _without_none(paid)
    unpaid = [i for i, value in enumerate(earned[GOLD]) if value <= least + CLOSE]
    count = len(earned[GOLD])
    if len(unpaid) <= TOLERATED * count:
        return []
    return [
        f"the gold answer is {'never' if len(unpaid) == count else 'often not'} paid by {who}: for "
        f"{len(unpaid)} of {count} questions it gets no more than the worst completion tried "
        f"({least:.2f}), for example {tail(golds.texts[unpaid[0]])!r}."
    ]


def _paid_wrong_answers(totals: Paid, answers: Mapping[str, Answers]) -> list[str]:
    """One finding where many spoilt answers are paid, and no less than the gold."""
    earned, least = _without_none(totals)
    golds = earned[GOLD]  # one for each question
    ways, examples = [], []
    for way in (way for way in SPOILT if way in answers):
        tried = zip(answers[way].questions, answers[way].texts, earned[way], strict=True)
        as_good = [
            f"{tail(text)!r} gets {value:.2f}, the gold answer {golds[question]:.2f}"
            for question, text, value in tried
            if value > least + CLOSE and value >= golds[question] - CLOSE
        ]
        if len(as_good) > TOLERATED * len(earned[way]):
            ways.append(f"{way} ({len(as_good)} of {len(earned[way])})")
            examples.append(as_good[0])
    if not ways:
        return []
    return [
        f"wrong answers earn no less than right ones: {', '.join(ways)}. For example "
        f"{examples[0]}. Some reward must depend on the gold answer: add rewards.correctness, "
        "or mend the reward or the verifier. (A control has the attribute `control = True`.)"
    ]
