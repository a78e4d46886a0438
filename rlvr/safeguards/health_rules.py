"""When a health metric deserves a warning: docs/health.md lists every rule with its threshold.

A rule judges means over WINDOW log entries, never a single one, and says in one line what was seen.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

WINDOW = 10  # log entries
PAUSE = 50  # log entries before the same warning may come again

Record = Mapping[str, float]


class History:
    """What was logged so far, oldest first; each record has its `step`."""

    def __init__(self, records: Sequence[Record] = ()) -> None:
        self.records = list(records)

    def values(self, name: str) -> list[float]:
        return [record[name] for record in self.records if name in record]

    def first(self, name: str) -> list[float]:
        """The first window, the baseline; empty before it is complete."""
        values = self.values(name)[:WINDOW]
        return values if len(values) == WINDOW else []

    def last(self, name: str) -> float:
        """Mean of the last window; nan, which exceeds nothing, before there is one."""
        values = self.values(name)[-WINDOW:]
        return float(np.mean(values)) if len(values) == WINDOW else float("nan")

    def rise(self, name: str) -> float:
        """Last window minus first window; nan while they overlap."""
        if len(self.values(name)) < 2 * WINDOW:
            return float("nan")
        return self.last(name) - float(np.mean(self.first(name)))

    def risen(self, name: str) -> bool:
        """Whether the rise is beyond 0.02 and two standard errors; False while it is unknown."""
        rise = self.rise(name)
        if not rise > 0.02:
            return False
        first, last = self.first(name), self.values(name)[-WINDOW:]
        error = ((np.var(first, ddof=1) + np.var(last, ddof=1)) / WINDOW) ** 0.5
        return bool(rise > 2 * error)

    @property
    def steps(self) -> str:
        last = self.records[-WINDOW:]
        return f"steps {last[0]['step']:.0f} to {last[-1]['step']:.0f}"


def false_positives(seen: History) -> str | None:
    rate = seen.last("health/false_positive_like")
    if not rate > 0.05:
        return None
    return (
        f"{rate:.0%} of the completions were paid as right though their last number is not the "
        "gold answer: the reward is being gamed, is wrong, or is not about right answers"
    )


def false_negatives(seen: History) -> str | None:
    unpaid = seen.last("health/false_negative_like")
    paid = seen.last("health/independent_accuracy") - unpaid
    if not unpaid > max(0.1, paid):
        return None
    return (
        f"{unpaid:.0%} of the completions end with the gold answer but were not paid, more than "
        f"the {paid:.0%} that were: the answer format may be too hard for this model"
    )


def reward_without_accuracy(seen: History) -> str | None:
    """Only after three windows: the format is often learned before the answers."""
    numeric = bool(seen.values("health/independent_accuracy"))
    accuracy = "health/independent_accuracy" if numeric else "health/accuracy"
    reward, rise = seen.rise("reward/total"), seen.rise(accuracy)
    if len(seen.records) < 3 * WINDOW or not seen.risen("reward/total") or reward < 0.1:
        return None
    if seen.risen(accuracy) or rise > reward / 4:
        return None
    now, well_formed = seen.last(accuracy), seen.last("health/format_only_reward_share")
    return (
        f"since the start the reward rose by {reward:.2f}, but accuracy did not ({now - rise:.0%}, "
        f"now {now:.0%}); {well_formed:.0%} of the reward goes to well-formed wrong answers"
    )


def faults(seen: History) -> str | None:
    timeouts, errors = seen.last("health/timeout"), seen.last("health/infra_error")
    if not timeouts + errors > 0.05:
        return None
    return (
        f"the verifier failed on {timeouts + errors:.0%} of the completions ({timeouts:.0%} "
        "timeouts): they get no reward, and what is learned is biased to the others"
    )


def spray(seen: History) -> str | None:
    rate = seen.last("health/spray")
    return f"{rate:.0%} of the completions offer several answers" if rate > 0.2 else None


def no_signal(seen: History) -> str | None:
    wrong, same = seen.last("health/groups_all_wrong"), seen.last("health/groups_same_other")
    if not wrong + same > 0.9:
        return None
    return (
        f"in {wrong + same:.0%} of the groups all rewards are equal and not all answers right: "
        "there is nothing to learn from; take easier questions, more shots or a larger model"
    )


def saturated(seen: History) -> str | None:
    rate = seen.last("health/groups_all_correct")
    if not rate > 0.95:
        return None
    return f"in {rate:.0%} of the groups all answers are right: there is nothing left to learn"


def cut_off(seen: History) -> str | None:
    rate = seen.last("train/clipped_ratio")
    if not rate > 0.3:
        return None
    return f"{rate:.0%} of the completions are cut off: raise trainer.max_completion_length"


def constant_answer(seen: History) -> str | None:
    given, gold = seen.last("health/top_answer_share"), seen.last("health/top_gold_share")
    if not given - gold > 0.3:
        return None
    return (
        f"one answer makes up {given:.0%} of all answers, the most frequent gold {gold:.0%}: the "
        "model answers without regard to the question"
    )


def collapse(seen: History) -> str | None:
    entropy, duplicates = seen.last("health/entropy_ratio"), seen.last("health/duplicates")
    accuracy = seen.last("health/accuracy")
    if not (accuracy < 0.5 and (entropy < 0.05 or duplicates > 0.9)):
        return None
    return (
        f"exploration has ended at an accuracy of {accuracy:.0%}: entropy is at {entropy:.0%} of "
        f"its start, {duplicates:.0%} of the completions repeat another of their group"
    )


def loops(seen: History) -> str | None:
    rate = seen.last("health/repeated_4grams")
    if not rate > 0.5:
        return None
    return f"{rate:.0%} of all sequences of four words repeat an earlier one of their completion"


RULES: tuple[Callable[[History], str | None], ...] = (
    false_positives,
    false_negatives,
    reward_without_accuracy,
    faults,
    spray,
    no_signal,
    saturated,
    cut_off,
    constant_answer,
    collapse,
    loops,
)
