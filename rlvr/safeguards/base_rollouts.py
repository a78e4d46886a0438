"""The second half of the pre-flight check: does the base model give GRPO anything to learn from?"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import gather_object

from rlvr.rewards.reward import Reward
from rlvr.safeguards.gold_answers import CLOSE, spread
from rlvr.safeguards.paying import Rows, mean, pay, tail, total
from rlvr.safeguards.preflight import Preflight
from rlvr.sampling.engine import Completions
from rlvr.verify.judge import judge

if TYPE_CHECKING:
    from trl import GRPOTrainer

    from rlvr.data.load import Splits

QUESTIONS = 4  # at a time
MOST_QUESTIONS = 32  # tried before training is refused

Question = Mapping[str, Any]
Group = dict[str, Any]


def check_rollouts(report: Preflight, trainer: "GRPOTrainer", splits: "Splits") -> None:
    """Sample groups from the base model until one has any variance of reward.

    `report` gets a summary and, where no group has any and no reward is a control, a finding. All
    ranks take part and report the same. The state of the random generators stays as it was.
    """
    rewards: list[Reward] = trainer.reward_funcs
    rows = spread(splits.train, MOST_QUESTIONS)
    at_once = trainer.args.per_device_train_batch_size * trainer.args.steps_per_generation
    step = min(QUESTIONS, max(1, at_once // trainer.num_generations))
    rank, ranks = trainer.accelerator.process_index, trainer.accelerator.num_processes
    groups: list[Group] = []
    cuda = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(cuda), trainer.inference() as model:
        torch.manual_seed(trainer.args.seed + rank)
        for start in range(0, len(rows), step * ranks):
            mine = rows[start : start + step * ranks][rank::ranks]
            sampled = _sample(model, trainer, mine)
            groups += gather_object([_group(*drawn, rewards, splits) for drawn in sampled])
            if any(group["varies"] for group in groups):
                break
    report.rollouts = _summary(groups)
    if not report.rollouts["groups_with_variance"] and not report.control:
        report.findings.append(report.rollouts["summary"])


def _sample(model: Any, trainer: "GRPOTrainer", rows: Rows) -> list[tuple[Question, Completions]]:
    """A group of completions to each row, drawn as training draws them."""
    if not rows:
        return []
    tokenizer, count = trainer.processing_class, trainer.num_generations
    prompts = tokenizer(text=[row["prompt"] for row in rows for _ in range(count)])["input_ids"]
    drawn = trainer.sample(model, prompts)
    parts = [slice(i * count, (i + 1) * count) for i in range(len(rows))]
    return [
        (row, Completions(drawn.ids[part], drawn.texts[part], drawn.ended[part]))
        for row, part in zip(rows, parts, strict=True)
    ]


def _group(
    row: Question, sampled: Completions, rewards: Sequence[Reward], splits: "Splits"
) -> Group:
    rows = [row] * len(sampled.texts)
    verdicts = judge(splits.verifier, rows, sampled.texts)
    paid = [pay(reward, rows, sampled.texts, verdicts, sampled.ids) for reward in rewards]
    totals = total(paid, [reward.weight for reward in rewards])
    known = [value for value in totals if value is not None]
    return {
        "totals": totals,
        "paid": {r.__name__: values for r, values in zip(rewards, paid, strict=True)},
        "varies": bool(known) and max(known) - min(known) > CLOSE,
        "reasons": [verdict.reason.value for verdict in verdicts],
        "cut_off": sampled.ended.count(False),
        "example": max(sampled.texts, key=len),
    }


def _summary(groups: Sequence[Group]) -> dict[str, Any]:
    totals = [value for group in groups for value in group["totals"]]
    reasons = Counter(reason for group in groups for reason in group["reasons"])
    summary: dict[str, Any] = {
        "completions": len(totals),
        "groups": len(groups),
        "groups_with_variance": sum(group["varies"] for group in groups),
        "mean_reward": mean(totals),
        "mean_rewards": {
            name: mean([value for group in groups for value in group["paid"][name]])
            for name in groups[0]["paid"]
        },
        "cut_off": sum(group["cut_off"] for group in groups) / len(totals),
        "reasons": {reason: n / len(totals) for reason, n in reasons.most_common()},
        "example": groups[0]["example"],
    }
    return {**summary, "summary": _in_words(summary)}


def _in_words(rollouts: Mapping[str, Any]) -> str:
    reasons = ", ".join(f"{reason} {share:.0%}" for reason, share in rollouts["reasons"].items())
    sentence = (
        f"{rollouts['completions']} rollouts of the base model: mean reward "
        f"{rollouts['mean_reward'] or 0:.2f} ({reasons}); rewards differ within "
        f"{rollouts['groups_with_variance']} of {rollouts['groups']} groups"
    )
    if rollouts["groups_with_variance"]:
        return sentence
    return (
        f"{sentence}. Without a difference GRPO learns nothing. {_advice(rollouts)} "
        f"A rollout: {tail(rollouts['example'])!r}"
    )


def _advice(rollouts: Mapping[str, Any]) -> str:
    if rollouts["reasons"].get("correct", 0) == 1:
        return "All are right already: take harder questions."
    if rollouts["reasons"].get("timeout", 0) + rollouts["reasons"].get("infra_error", 0) > 0.5:
        return "The verifier fails on most of them."
    if rollouts["cut_off"] > 0.5:
        share = f"{rollouts['cut_off']:.0%}"
        return f"{share} are cut off at trainer.max_completion_length: raise it."
    if rollouts["reasons"].get("no_answer", 0) > 0.5:
        return "Most hold no answer line: add shots, or take a larger model."
    return "Take easier questions, a larger model, or pay for partial success."
