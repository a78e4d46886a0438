"""What rewards pay to completions, called as TRL calls them but outside of its trainer."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from rlvr.errors import UserError
from rlvr.rewards.functions import Rewards
from rlvr.rewards.reward import Reward
from rlvr.verify.verdict import Verdict

SHOWN = 160  # characters of a completion in a message

Rows = Sequence[Mapping[str, Any]]
Batch = list[tuple[Mapping[str, Any], str, Verdict, Sequence[int]]]


def pay(
    reward: Reward,
    rows: Rows,
    texts: Sequence[str],
    verdicts: Sequence[Verdict],
    completion_ids: Sequence[Sequence[int]] | None = None,
) -> Rewards:
    """One reward per completion; UserError names the reward and the completion it fails on.

    Before there is a tokenizer, `completion_ids` are made up: one id for each word.
    """
    ids = completion_ids or [list(range(len(text.split()))) for text in texts]
    batch = list(zip(rows, texts, verdicts, ids, strict=True))
    try:
        return _pay(reward, batch)
    except UserError as error:
        raise UserError(f"{error} {_first_failing(reward, batch)}") from error


def _pay(reward: Reward, batch: Batch) -> Rewards:
    rows, texts, verdicts, ids = zip(*batch, strict=True)
    columns = {key: [row[key] for row in rows] for key in rows[0] if key != "prompt"}
    return reward(
        prompts=[row["prompt"] for row in rows],
        completions=list(texts),
        completion_ids=list(ids),
        verdicts=list(verdicts),
        trainer_state=SimpleNamespace(global_step=0, max_steps=0, epoch=0.0, log_history=[]),
        log_metric=lambda name, value: None,
        log_extra=lambda column, values: None,
        **columns,
    )


def _first_failing(reward: Reward, batch: Batch) -> str:
    """Which completion it is, by its own number: the batch up to it fails, the one before does not.

    By bisection, since a call may be slow.
    """
    fine, fails = 0, len(batch)
    while fails - fine > 1:
        middle = (fine + fails) // 2
        if _fails(reward, batch[:middle]):
            fails = middle
        else:
            fine = middle
    return f"It does so on completions[{fine}], {tail(batch[fine][1])!r}."


def _fails(reward: Reward, batch: Batch) -> bool:
    try:
        _pay(reward, batch)
    except UserError:
        return True
    return False


def tail(text: str) -> str:
    return text if len(text) <= SHOWN else "..." + text[-SHOWN:]


def total(columns: Sequence[Rewards], weights: Sequence[float]) -> Rewards:
    """Weighted sums as TRL forms them: None counts as nothing, all None is None."""
    return [
        None
        if all(value is None for value in values)
        else sum(w * v for v, w in zip(values, weights, strict=True) if v is not None)
        for values in zip(*columns, strict=True)
    ]


def mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
