"""When a health metric deserves a warning: docs/health.md lists every rule with its threshold.

A rule judges means over WINDOW log entries, but for that of gradients and that of distances, and
says in one line what it saw.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

WINDOW = 10  # log entries

Record = Mapping[str, float]


class History:
    """What was logged so far, oldest first; each record has its `step`."""

    def __init__(self, records: Sequence[Record] = ()) -> None:
        self.records = list(records)
        self.gaming = ""  # an example of it

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


def wrong_answers_earn_more(history: History) -> str | None:
    """By a quarter and by three standard errors: a reward that knows nothing of answers pays right
    and wrong ones alike, but for chance."""
    earned, more = _earned(history), history.values("health/wrong_minus_right")[-WINDOW:]
    if len(more) < WINDOW or not earned:
        return None
    right, wrong = (abs(sum(column)) for column in zip(*earned.values(), strict=True))
    if not np.mean(more) > max(max(right, wrong) / 4, 3 * np.std(more, ddof=1) / WINDOW**0.5):
        return None
    return f"wrong answers earn more than right ones: {_in_words(earned)}"


def false_positives(history: History) -> str | None:
    rate = history.last("health/false_positive_like")
    if not rate > 0.05 or wrong_answers_earn_more(history):
        return None
    earned = _earned(history)
    return (
        f"{rate:.0%} of the completions were paid as right though their last number is not the "
        "gold answer: the reward is being gamed, is wrong, or is not about right answers"
        + (f" ({_in_words(earned)})" if earned else "")
    )


def false_negatives(history: History) -> str | None:
    unpaid = history.last("health/false_negative_like")
    paid = history.last("health/independent_accuracy") - unpaid
    if not unpaid > max(0.1, paid) or wrong_answers_earn_more(history):
        return None
    unread = history.last("health/no_answer") + history.last("health/unparseable")
    return (
        f"{unpaid:.0%} of the completions end with the gold answer but were not paid, more than "
        f"the {paid:.0%} that were: "
        + (
            f"{unread:.0%} have no readable answer line, so the format may be too hard"
            if unread > unpaid / 2
            else "the verifier or a reward refuses them"
        )
    )


def _earned(history: History) -> dict[str, tuple[float, float]]:
    """By reward, what it adds to right and to wrong answers; only where both are known."""
    prefix = "health/earned_right/"
    keys = {key for record in history.records[-WINDOW:] for key in record if prefix in key}
    earned = {
        name: (history.last(prefix + name), history.last(f"health/earned_wrong/{name}"))
        for name in sorted(key.removeprefix(prefix) for key in keys)
    }
    return {name: pair for name, pair in earned.items() if np.isfinite(pair).all()}


def _in_words(earned: Mapping[str, tuple[float, float]]) -> str:
    """What prefers wrong answers most stands first."""
    worst_first = sorted(earned.items(), key=lambda entry: entry[1][0] - entry[1][1])
    return ", ".join(
        f"{name} adds {wrong:.2f} to wrong and {right:.2f} to right answers"
        for name, (right, wrong) in worst_first
    )


def reward_without_accuracy(history: History) -> str | None:
    """Only after three windows: the format is often learned before the answers."""
    numeric = bool(history.values("health/independent_accuracy"))
    accuracy = "health/independent_accuracy" if numeric else "health/accuracy"
    reward, rise = history.rise("reward/total"), history.rise(accuracy)
    if len(history.records) < 3 * WINDOW or not history.risen("reward/total") or reward < 0.1:
        return None
    if history.risen(accuracy) or rise > reward / 4:
        return None
    now, well_formed = history.last(accuracy), history.last("health/format_only_reward_share")
    return (
        f"since the start the reward rose by {reward:.2f}, but accuracy did not ({now - rise:.0%}, "
        f"now {now:.0%}); {well_formed:.0%} of the reward goes to well-formed wrong answers"
    )


def faults(history: History) -> str | None:
    timeouts, errors = history.last("health/timeout"), history.last("health/infra_error")
    if not timeouts + errors > 0.05:
        return None
    return (
        f"the verifier failed on {timeouts + errors:.0%} of the completions ({timeouts:.0%} "
        "timeouts): they get no reward, and what is learned is biased to the others"
    )


def spray(history: History) -> str | None:
    rate = history.last("health/spray")
    return f"{rate:.0%} of the completions offer several answers" if rate > 0.2 else None


def no_signal(history: History) -> str | None:
    wrong, same = history.last("health/groups_all_wrong"), history.last("health/groups_same_other")
    if not wrong + same > 0.9:
        return None
    return (
        f"in {wrong + same:.0%} of the groups all rewards are equal and not all answers right: "
        "there is nothing to learn from; take easier questions, more shots or a larger model"
    )


def saturated(history: History) -> str | None:
    rate = history.last("health/groups_all_correct")
    if not rate > 0.95:
        return None
    return f"in {rate:.0%} of the groups all answers are right: there is nothing left to learn"


def cut_off(history: History) -> str | None:
    rate = history.last("train/clipped_ratio")
    if not rate > 0.3:
        return None
    return f"{rate:.0%} of the completions are cut off: raise trainer.max_completion_length"


def constant_answer(history: History) -> str | None:
    given, gold = history.last("health/top_answer_share"), history.last("health/top_gold_share")
    if not given - gold > 0.3:
        return None
    return (
        f"one answer makes up {given:.0%} of all answers, the most frequent gold {gold:.0%}: the "
        "model answers without regard to the question"
    )


def collapse(history: History) -> str | None:
    entropy, duplicates = history.last("health/entropy_ratio"), history.last("health/duplicates")
    accuracy = history.last("health/accuracy")
    if not (accuracy < 0.5 and (entropy < 0.05 or duplicates > 0.9)):
        return None
    return (
        f"exploration has ended at an accuracy of {accuracy:.0%}: entropy is at {entropy:.0%} of "
        f"its start, {duplicates:.0%} of the completions repeat another of their group"
    )


def loops(history: History) -> str | None:
    rate = history.last("health/repeated_4grams")
    if not rate > 0.5:
        return None
    return f"{rate:.0%} of all sequences of four words repeat an earlier one of their completion"


def gradient_spikes(history: History) -> str | None:
    """One is enough: clipping bounds its step, but one row has decided its direction."""
    *before, highest = history.values("train/grad_norm") or [0.0]
    usual = float(np.median([norm for norm in before if norm > 0] or [np.nan]))
    if len(before) < WINDOW or not highest > max(10 * usual, 1):
        return None
    return (
        f"the gradient's norm jumped to {highest:.3g}, {highest / usual:.0f} times its median: "
        "lower trainer.learning_rate or trainer.max_grad_norm if it comes again"
    )


def far_from_base(history: History) -> str | None:
    distances = history.values("health/kl_probe")
    if not distances or not distances[-1] > 1:
        return None
    return (
        f"the model has gone {distances[-1]:.2g} nats a token from the base model on what that "
        "wrote: lower trainer.learning_rate, or hold it with trainer.beta=0.04"
    )


def engine_differs(history: History) -> str | None:
    difference = history.last("train/engine_difference")
    if not difference > 0.1:
        return None
    return (
        f"vLLM's log-probabilities differ from the trainer's by {difference:.2g} nats a token: "
        "what is sampled is not what is trained; set trainer.generation=shared"
    )


def gaming(history: History) -> str | None:
    rate = history.last("health/gaming")
    if not rate > 0.02:
        return None
    prefix = "health/gaming_"
    names = {key for record in history.records[-WINDOW:] for key in record if prefix in key}
    seen = {name.removeprefix(prefix): history.last(name) for name in names}
    most = sorted((name for name in seen if seen[name] > 0), key=lambda name: (-seen[name], name))
    return (
        f"{rate:.0%} of the completions try to be paid without solving their task "
        f"({', '.join(f'{name} {seen[name]:.0%}' for name in most)}); the latest: {history.gaming}"
    )


def shown_tests_by_heart(history: History) -> str | None:
    shown, hidden = (history.last(f"health/tests_passed_{which}") for which in ("shown", "hidden"))
    if not (shown > 0.5 and shown - hidden > 0.2):
        return None
    return (
        f"{shown:.0%} of the tests that the prompt shows are passed, of the hidden ones of the "
        f"same tasks {hidden:.0%}: the model learns the shown results instead of the tasks"
    )


RULES: tuple[Callable[[History], str | None], ...] = (
    wrong_answers_earn_more,
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
    gradient_spikes,
    far_from_base,
    engine_differs,
    gaming,
    shown_tests_by_heart,
)
