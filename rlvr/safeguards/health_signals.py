"""Health metrics of one batch of completions, cheap enough for every step: docs/health.md."""

import math
import re
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from rlvr.safeguards.second_opinion import agrees, gold_number
from rlvr.sampling.stop import StopRule, opens_thought
from rlvr.verify.verdict import Reason, Verdict

WINDOW = 10  # batches
CLOSE = 1e-6
PAID = 0.5  # of the reward that judges answers: from here on an answer counts as paid
LOGGED_REASONS = (Reason.NO_ANSWER, Reason.UNPARSEABLE, Reason.TIMEOUT, Reason.INFRA_ERROR)

_NUMBER = re.compile(r"[0-9][0-9,.]*")
_RETRACTION = re.compile(
    r"\b(?:wait|actually|sorry|correction|mistake|wrong|incorrect|instead|scratch that)\b", re.I
)

Metrics = dict[str, float]


@dataclass(frozen=True)
class Batch:
    """n completions, those of one prompt side by side. `raw` holds what was sampled, `texts` what
    stands before the stop; `rewards` is (n, rewards) with None as nan, `totals` (n,) their
    weighted sum, `paid` (n,) what the answer earned, from 0 to 1 or nan."""

    prompts: Sequence[str]
    questions: Sequence[str]
    raw: Sequence[str]
    texts: Sequence[str]
    lengths: Sequence[int]  # tokens
    golds: Sequence[str]
    verdicts: Sequence[Verdict]
    rewards: np.ndarray
    totals: np.ndarray
    paid: np.ndarray

    @property
    def correct(self) -> np.ndarray:
        """(n,) bool: the dataset's verifier says so."""
        return np.array([verdict.correct for verdict in self.verdicts], dtype=bool)

    def groups(self) -> Iterator[slice]:
        """Completions of one prompt; a group that is split over processes counts in each."""
        start = 0
        for _, members in groupby(self.prompts):
            end = start + len(list(members))
            yield slice(start, end)
            start = end


def last_number_right(batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """Which golds are numbers, and whose completion ends with that number: both (n,) bool."""
    golds = [gold_number(gold) for gold in batch.golds]
    right = [g is not None and agrees(t, g) for t, g in zip(batch.texts, golds, strict=True)]
    return np.array([gold is not None for gold in golds], dtype=bool), np.array(right, dtype=bool)


def agreement(batch: Batch) -> Metrics:
    """What the reward says against what the last number says."""
    numeric, right = last_number_right(batch)
    judged = numeric & ~np.isnan(batch.paid)
    if not judged.any():
        return {}
    paid, right = batch.paid[judged], right[judged]
    return {
        "independent_accuracy": float(right.mean()),
        "reward_gap": float(paid.mean() - right.mean()),
        "false_positive_like": float(((paid >= PAID) & ~right).mean()),
        "false_negative_like": float(((paid < PAID) & right).mean()),
    }


class Earnings:
    """What each reward adds to the total of right answers and of wrong ones, on average.

    An answer is right if the last number is the gold, or if the verdict is where that is no number.
    """

    def __init__(self, weights: Mapping[str, float], judging: Collection[str]) -> None:
        """`weights` of all rewards in their order; metrics are those of `judging`."""
        self._columns = {
            name: (column, weight)
            for column, (name, weight) in enumerate(weights.items())
            if name in judging
        }

    def __call__(self, batch: Batch) -> Metrics:
        numeric, agrees = last_number_right(batch)
        right = np.where(numeric, agrees, batch.correct)
        metrics: Metrics = {}
        for name, (column, weight) in self._columns.items():
            added = weight * batch.rewards[:, column]
            for key, chosen in ((f"earned_right/{name}", right), (f"earned_wrong/{name}", ~right)):
                if (known := chosen & ~np.isnan(added)).any():
                    metrics[key] = float(added[known].mean())
        if len(metrics) == 2 * len(self._columns) > 0:
            metrics["wrong_minus_right"] = sum(
                metrics[f"earned_wrong/{name}"] - metrics[f"earned_right/{name}"]
                for name in self._columns
            )
        return metrics


def format_only(batch: Batch) -> Metrics:
    """How much is earned without being right."""
    wrong = ~batch.correct
    well_formed = np.array([verdict.format_ok for verdict in batch.verdicts], dtype=bool)
    earned = np.clip(np.nan_to_num(batch.totals), 0, None)
    metrics = {"format_only_share": float((wrong & well_formed).mean())}
    if earned.sum() > 0:
        share = earned[wrong & well_formed].sum() / earned.sum()
        metrics["format_only_reward_share"] = float(share)
    return metrics


def answers(batch: Batch, answer_line: StopRule) -> Metrics:
    """Reasons, several answers on offer, and what follows the answer line."""
    reasons = Counter(verdict.reason for verdict in batch.verdicts)
    ends = [
        answer_line.find(text, opens_thought(prompt))
        for text, prompt in zip(batch.raw, batch.prompts, strict=True)
    ]
    after = [t[e:].strip() if e is not None else "" for t, e in zip(batch.raw, ends, strict=True)]
    return {
        "accuracy": float(batch.correct.mean()),
        **{reason.value: reasons[reason] / len(batch.verdicts) for reason in LOGGED_REASONS},
        "spray": _share(map(_sprays, batch.verdicts)),
        "retracted": _share(_RETRACTION.search(text) is not None for text in after),
        "run_on": _share(bool(text) for text in after),
    }


def _sprays(verdict: Verdict) -> bool:
    """Several answers, or several numbers on the one answer line."""
    if verdict.reason is Reason.MULTIPLE_ANSWERS:
        return True
    found = _NUMBER.findall(verdict.extracted or "")
    return verdict.reason is Reason.UNPARSEABLE and len(set(found)) > 1


def groups(batch: Batch) -> Metrics:
    """Groups without variance of reward, by their answers; together TRL's zero-std share."""
    fates = Counter(_fate(batch.totals[group], batch.correct[group]) for group in batch.groups())
    return {
        f"groups_{fate}": fates[fate] / fates.total()
        for fate in ("all_correct", "all_wrong", "same_other")
    }


def _fate(totals: np.ndarray, correct: np.ndarray) -> str:
    known = totals[~np.isnan(totals)]
    if known.size and known.max() - known.min() > CLOSE:
        return "varied"
    if correct.all():
        return "all_correct"
    return "same_other" if correct.any() else "all_wrong"


def lengths(batch: Batch) -> Metrics:
    """Mean tokens of right answers minus that of wrong ones."""
    tokens, correct = np.array(batch.lengths), batch.correct
    if correct.all() or not correct.any():
        return {}
    difference = tokens[correct].mean() - tokens[~correct].mean()
    return {"length_correct_minus_wrong": float(difference)}


def repetition(batch: Batch) -> Metrics:
    """Equal completions within groups, and words that come round again within a completion."""
    unique = [len(set(batch.texts[group])) / len(batch.texts[group]) for group in batch.groups()]
    repeated = [_repeated_4grams(text.split()) for text in batch.texts]
    return {"duplicates": 1 - float(np.mean(unique)), "repeated_4grams": float(np.mean(repeated))}


def _repeated_4grams(words: Sequence[str]) -> float:
    grams = list(zip(words, words[1:], words[2:], words[3:], strict=False))
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


class TopAnswers:
    """The answers of the last batches: is one given whatever the question?"""

    def __init__(self) -> None:
        self._recent: deque[list[tuple[Counter[str], str]]] = deque(maxlen=WINDOW)

    def __call__(self, batch: Batch) -> Metrics:
        self._recent.append([*self._questions(batch)])
        questions = [question for asked in self._recent for question in asked]
        if not questions:
            return {}
        shares: Counter[str] = Counter()
        for given, _ in questions:
            for answer, count in given.items():
                shares[answer] += count / given.total() / len(questions)  # type: ignore[assignment]
        golds = Counter(gold for _, gold in questions)
        return {
            "top_answer_share": max(shares.values()),
            "top_gold_share": max(golds.values()) / len(questions),
            "answer_entropy": -sum(p * math.log2(p) for p in shares.values()),
        }

    def _questions(self, batch: Batch) -> Iterator[tuple[Counter[str], str]]:
        """For each question the answers given and the gold; questions without answers are out."""
        for group in batch.groups():
            given = Counter(
                verdict.extracted
                for verdict in batch.verdicts[group]
                if verdict.extracted is not None and verdict.execution is None  # then no answer
            )
            if given:
                yield given, batch.golds[group.start]


class Components:
    """How the other rewards move against the one of the largest weight, over the last batches."""

    def __init__(self, names: Sequence[str], weights: Sequence[float]) -> None:
        self._names = names
        self._main = max(range(len(names)), key=lambda i: abs(weights[i]))
        self._recent: deque[np.ndarray] = deque(maxlen=WINDOW)

    def __call__(self, batch: Batch) -> Metrics:
        self._recent.append(batch.rewards)
        values = np.concatenate(self._recent)
        means = np.array([_known_means(batch) for batch in self._recent])  # (batches, rewards)
        metrics = {}
        for index, name in enumerate(self._names):
            if index != self._main:
                metrics[f"correlation/{name}"] = _correlation(values[:, [index, self._main]])
                difference = means[:, index] - means[:, self._main]
                metrics[f"slope_lead/{name}"] = _slope(difference)
        return {name: value for name, value in metrics.items() if value is not None}


def _known_means(values: np.ndarray) -> np.ndarray:
    """Of each column without its nans; nan where there is nothing else."""
    known = (~np.isnan(values)).sum(axis=0)
    return np.where(known > 0, np.nansum(values, axis=0) / np.maximum(known, 1), np.nan)


def _correlation(pairs: np.ndarray) -> float | None:
    """Pearson's, or None where one of the two does not vary."""
    pairs = pairs[~np.isnan(pairs).any(axis=1)]
    if len(pairs) < 2 or (np.ptp(pairs, axis=0) < CLOSE).any():
        return None
    return float(np.corrcoef(pairs.T)[0, 1])


def _slope(values: np.ndarray) -> float | None:
    """Least-squares slope per batch."""
    if len(values) < WINDOW or np.isnan(values).any():
        return None
    return float(np.polyfit(np.arange(len(values)), values, 1)[0])


def _share(flags: Iterable[bool]) -> float:
    return float(np.mean([*flags]))
