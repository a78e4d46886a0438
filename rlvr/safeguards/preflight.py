"""Pre-flight: are right answers paid in full and wrong ones not, before any model is loaded?

docs/health.md, "Before training", says what is tried and what is refused.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from rlvr.errors import UserError, raised_at
from rlvr.result import write_atomic
from rlvr.rewards.build import Reward
from rlvr.rewards.functions import Rewards
from rlvr.safeguards.spoilt import GOLD, SPOILT, completions
from rlvr.verify.judge import judge
from rlvr.verify.verdict import Verdict

if TYPE_CHECKING:
    from datasets import Dataset

    from rlvr.data.load import Splits

FILE = "preflight.json"
QUESTIONS = 64  # spread over the training split
TOLERATED = 0.1  # of spoilt answers: some tasks have several right ones
SHOWN = 160  # characters of a completion in a message
CLOSE = 1e-6
TOTAL = "total"

Rows = Sequence[Mapping[str, Any]]
Texts = dict[str, dict[int, str]]  # kind -> row -> completion
Verdicts = dict[str, list[Verdict]]  # kind -> one verdict per completion
Paid = dict[str, list[float | None]]  # kind -> one reward per completion


@dataclass
class Preflight:
    """What was seen. `paid` holds mean rewards by reward and kind of completion; its `total` is
    the weighted sum. `control` names control rewards. `findings` are reasons not to train."""

    questions: int
    weights: dict[str, float]
    control: list[str]
    paid: dict[str, dict[str, float | None]] = field(default_factory=dict)
    rollouts: dict[str, Any] | None = None
    findings: list[str] = field(default_factory=list)

    def write(self, run_dir: Path) -> None:
        write_atomic(run_dir / FILE, json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n")

    def refuse(self) -> None:
        """Raise one UserError with all findings; nothing when there are none."""
        if self.findings:
            listed = "\n".join(f"  - {finding}" for finding in self.findings)
            raise UserError(
                f"the rewards failed the pre-flight check:\n{listed}\n"
                "  To train in spite of this: trainer.preflight=off"
            )


def check_golds(rewards: Sequence[Reward], splits: "Splits") -> Preflight:
    """Try every reward on gold answers and on spoilt ones; what is wrong is in the findings."""
    rows = spread(splits.train, QUESTIONS)
    weights = {reward.__name__: reward.weight for reward in rewards}
    report = Preflight(len(rows), weights, control_names(rewards))
    texts = _texts(splits, rows)
    verdicts = {
        kind: judge(splits.verifier, [rows[i] for i in written], list(written.values()))
        for kind, written in texts.items()
    }
    tried = [_try(reward, rows, texts, verdicts) for reward in rewards]
    paid = {n: kinds for n, kinds in zip(weights, tried, strict=True) if isinstance(kinds, dict)}
    report.findings = [problem for problem in tried if isinstance(problem, str)]
    if not report.findings:
        paid[TOTAL] = {k: total([paid[n][k] for n in weights], [*weights.values()]) for k in texts}
        report.findings += _gold_findings(rewards, paid, rows, texts[GOLD], verdicts[GOLD])
    if not report.findings and not report.control:
        report.findings += _spoilt_findings(paid[TOTAL], texts)
    report.paid = {n: {k: mean(v) for k, v in kinds.items()} for n, kinds in paid.items()}
    return report


def control_names(rewards: Sequence[Reward]) -> list[str]:
    """The rewards that are controls by design: marked ones, or the format when nothing else pays.

    A function or class is marked by the attribute `control = True`."""
    used = [reward for reward in rewards if reward.weight]
    marked = [reward.__name__ for reward in used if reward.control]
    only_format = all(reward.only_format for reward in used)
    return marked or [reward.__name__ for reward in used if only_format]


def spread(data: "Dataset", count: int) -> Rows:
    """At most `count` rows at equal distances."""
    count = min(count, len(data))
    return [data[i * len(data) // count] for i in range(count)]


def call(
    reward: Reward,
    rows: Rows,
    texts: Sequence[str],
    verdicts: Sequence[Verdict],
    completion_ids: Sequence[Sequence[int]] | None = None,
) -> Rewards:
    """One reward per completion, called as TRL calls it; UserError names reward and completion.

    Without a tokenizer yet, `completion_ids` stand in: one id for each word.
    """
    ids = completion_ids or [list(range(len(text.split()))) for text in texts]
    try:
        return _call(reward, rows, texts, verdicts, ids)
    except Exception as error:  # whatever a user's own reward raises
        if len(texts) > 1:
            for row, text, verdict, tokens in zip(rows, texts, verdicts, ids, strict=True):
                call(reward, [row], [text], [verdict], [tokens])
        raise UserError(_problem(reward, error, texts[0])) from error


def _call(
    reward: Reward,
    rows: Rows,
    texts: Sequence[str],
    verdicts: Sequence[Verdict],
    ids: Sequence[Sequence[int]],
) -> Rewards:
    columns = {key: [row[key] for row in rows] for key in rows[0] if key != "prompt"}
    return reward(
        prompts=[row["prompt"] for row in rows],
        completions=list(texts),
        completion_ids=ids,
        verdicts=verdicts,
        trainer_state=SimpleNamespace(global_step=0, max_steps=0, epoch=0.0, log_history=[]),
        log_metric=lambda name, value: None,
        log_extra=lambda column, values: None,
        **columns,
    )


def _problem(reward: Reward, error: Exception, text: str) -> str:
    shown = f"For example on the completion {tail(text)!r}."
    if isinstance(error, UserError):
        return f"{error} {shown}"
    kind = type(error).__name__
    return f"reward {reward.__name__!r} raised {kind}: {error} ({raised_at(error)}). {shown}"


def tail(text: str) -> str:
    return text if len(text) <= SHOWN else "..." + text[-SHOWN:]


def total(columns: Sequence[Rewards], weights: Sequence[float]) -> Rewards:
    """Weighted sums as TRL forms them: None counts as nothing, all None is None."""
    return [
        None if all(v is None for v in values) else _weighted(values, weights)
        for values in zip(*columns, strict=True)
    ]


def _weighted(values: Sequence[float | None], weights: Sequence[float]) -> float:
    return sum(w * v for v, w in zip(values, weights, strict=True) if v is not None)


def mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _texts(splits: "Splits", rows: Rows) -> Texts:
    texts: Texts = {kind: {} for kind in (GOLD, *SPOILT)}
    golds = [row["gold"] for row in rows]
    for index, row in enumerate(rows):
        others = golds[index + 1 :] + golds[:index]
        other = next((gold for gold in others if gold != row["gold"]), row["gold"])
        made = completions(splits.prompt_builder, splits.verifier, row, other)
        for kind, text in made.items():
            texts[kind][index] = splits.stop.cut(text)
    return {kind: written for kind, written in texts.items() if written}


def _try(reward: Reward, rows: Rows, texts: Texts, verdicts: Verdicts) -> Paid | str:
    """What `reward` pays to each completion of each kind, or what is wrong with it."""
    try:
        return {
            kind: call(reward, [rows[i] for i in written], [*written.values()], verdicts[kind])
            for kind, written in texts.items()
        }
    except UserError as error:
        return str(error)


def _gold_findings(
    rewards: Sequence[Reward],
    paid: Mapping[str, Paid],
    rows: Rows,
    texts: Mapping[int, str],
    verdicts: Sequence[Verdict],
) -> list[str]:
    """Format and correctness must pay 1; nobody knows the most that a user's own reward pays."""
    findings = []
    for reward in rewards:
        values = paid[reward.__name__][GOLD]
        short = [i for i, value in enumerate(values) if value is None or value < 1 - CLOSE]
        if not short or reward.weight <= 0 or not reward.pays_gold_in_full:
            continue
        first = short[0]
        findings.append(
            f"reward {reward.__name__!r} does not pay the gold answer in full for {len(short)} of "
            f"{len(values)} questions: for example {values[first]} of 1, verdict "
            f"{verdicts[first].reason.value}, for the gold {rows[first]['gold']!r} written as "
            f"{tail(texts[first])!r}. dataset.prompt.answer_prefix, dataset.verifier and "
            "dataset.stop must agree."
        )
    return findings


def _spoilt_findings(totals: Paid, texts: Texts) -> list[str]:
    golds = dict(zip(texts[GOLD], totals[GOLD], strict=True))
    kinds, example = [], ""
    for kind in totals.keys() - {GOLD}:
        pairs = list(zip(texts[kind].items(), totals[kind], strict=True))
        paid = [(t, v, golds[i] or 0) for (i, t), v in pairs if (v or 0) >= (golds[i] or 0) - CLOSE]
        if len(paid) > TOLERATED * len(pairs):
            kinds.append(f"{kind} ({len(paid)} of {len(pairs)})")
            text, value, gold = paid[0]
            example = f"{tail(text)!r} gets {value or 0:.2f}, the gold answer {gold:.2f}"
    if not kinds:
        return []
    return [
        f"wrong answers earn no less than right ones: {', '.join(sorted(kinds))}. For example "
        f"{example}. Some reward must depend on the gold answer: add rewards.correctness, or mend "
        "the reward or the verifier. (A control has the attribute `control = True`.)"
    ]
