"""Watches the rewards while training: metrics under `health/`, and warnings when they look bad.

docs/health.md explains every metric and rule. Each of several processes sees what all have sampled.
"""

import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rlvr import ranks
from rlvr.metric_names import metric_name
from rlvr.result import write_atomic
from rlvr.rewards.reward import Reward
from rlvr.safeguards import code_signals
from rlvr.safeguards import health_signals as signals
from rlvr.safeguards.disagreements import FILE, Disagreements
from rlvr.safeguards.health_rules import RULES, History
from rlvr.safeguards.health_signals import Batch
from rlvr.sampling.stop import StopRule
from rlvr.verify.verdict import Verdict

if TYPE_CHECKING:
    from rlvr.tracking import Tracker

log = logging.getLogger(__name__)

WARNED = "health/warned.json"

LogMetric = Callable[[str, float], None]


class HealthMonitor:
    """Sees every training batch in `observe`, and completes every log entry."""

    def __init__(self, rewards: Sequence[Reward], answer_prefix: str, run_dir: Path) -> None:
        weights = {reward.__name__: reward.weight for reward in rewards}
        self._weights = np.array([*weights.values()], dtype=float)
        self._judging = _judging(rewards, self._weights)
        self._answer_line = StopRule((), answer_prefix)
        self._top_answers = signals.TopAnswers()
        self._components = signals.Components([*weights], [*weights.values()])
        used = [r.__name__ for r in rewards if r.weight and not r.only_format]
        self._earnings = signals.Earnings(weights, used)
        self._disagreements = Disagreements(run_dir / FILE)
        self.run_dir = run_dir
        (run_dir / WARNED).parent.mkdir(parents=True, exist_ok=True)
        self._history: History | None = None
        self._warned: dict[str, int] = {}  # steps
        self._gaming = ""  # the latest example

    def batch(
        self,
        inputs: Sequence[Mapping[str, Any]],
        raw: Sequence[str],
        texts: Sequence[str],
        lengths: Sequence[int],
        verdicts: Sequence[Verdict],
        rewards: np.ndarray,
    ) -> Batch:
        """What was sampled, with its rewards (n, rewards), None as nan."""
        return Batch(
            prompts=[row["prompt"] for row in inputs],
            questions=[str(row.get("question", row["prompt"])) for row in inputs],
            raw=raw,
            texts=texts,
            lengths=lengths,
            golds=[row["gold"] for row in inputs],
            verdicts=verdicts,
            rewards=rewards,
            totals=_weighted(rewards, self._weights),
            paid=_weighted(np.clip(rewards, 0, 1), self._judging),
        )

    def observe(self, batch: Batch, step: int, log_metric: LogMetric) -> None:
        metrics = {
            **signals.agreement(batch),
            **signals.format_only(batch),
            **signals.answers(batch, self._answer_line),
            **signals.groups(batch),
            **signals.lengths(batch),
            **signals.repetition(batch),
            **self._top_answers(batch),
            **self._components(batch),
            **self._earnings(batch),
            **code_signals.executions(batch),
        }
        for name, value in metrics.items():
            log_metric(f"health/{name}", value)
        self._disagreements.add(batch, step)
        self._gaming = code_signals.example(batch) or self._gaming

    def complete_log_entry(
        self, metrics: dict[str, list[float]], step: int, logs: Mapping[str, float]
    ) -> None:
        """Add drift and warnings to `metrics`, which TRL is about to log on average with `logs`."""
        if self._history is None:
            self._history = History(_logged_before(self.run_dir / "metrics.jsonl", step))
            self._warned = _warned_before(self.run_dir / WARNED, step)
        known = {metric_name(name): _mean(values) for name, values in metrics.items()}
        known |= {metric_name(name): value for name, value in logs.items()}
        known = {name: value for name, value in known.items() if math.isfinite(value)}
        drift = _drift(self._history, known)
        self._history.records.append({"step": step, **known, **drift})
        self._history.gaming = self._gaming
        self._warn(self._history)
        drift["health/warnings"] = len(self._warned)
        for name, value in drift.items():
            metrics[name] = [value]
        if ranks.is_main():
            self._disagreements.write()

    def _warn(self, history: History) -> None:
        """Each rule once in a run: what goes on needs no second line."""
        for rule in RULES:
            if rule.__name__ not in self._warned and (message := rule(history)):
                self._warned[rule.__name__] = int(history.records[-1]["step"])
                if ranks.is_main():
                    write_atomic(self.run_dir / WARNED, json.dumps(self._warned) + "\n")
                    log.warning("health, %s: %s", history.steps, message)

    def log_disagreements(self, tracker: "Tracker") -> None:
        """As a table, at the end of training."""
        if rows := self._disagreements.rows():
            tracker.log_table(rows, FILE.removesuffix(".jsonl"))


def _judging(rewards: Sequence[Reward], weights: np.ndarray) -> np.ndarray:
    """Weights, of sum 1, of the rewards that judge the answer: verdicts on it, else all but the
    format, else all."""
    paying = [i for i, weight in enumerate(weights) if weight > 0]
    others = [i for i in paying if not rewards[i].only_format]
    verdicts = [i for i in others if rewards[i].judges_answers]
    judging = np.zeros_like(weights)
    chosen = verdicts or others or paying
    judging[chosen] = weights[chosen] / weights[chosen].sum()
    return judging


def _weighted(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(n, rewards) -> (n,) weighted sums without the nans; nan where all that count are."""
    counted = values[:, weights != 0]
    sums = np.nansum(counted * weights[weights != 0], axis=1)
    return np.where(np.isnan(counted).all(axis=1), np.nan, sums)


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def _drift(history: History, now: Mapping[str, float]) -> dict[str, float]:
    """Entropy as a share of its first value, length in standard deviations from its first ones."""
    drift = {}
    entropy = now.get("train/entropy", math.nan)
    before = [*history.values("train/entropy"), entropy][0]
    if before > 0 and math.isfinite(entropy):
        drift["health/entropy_ratio"] = entropy / before
    first = history.first("train/length_mean")
    if first and np.std(first) > 0 and "train/length_mean" in now:
        drift["health/length_drift"] = float(
            (now["train/length_mean"] - np.mean(first)) / np.std(first, ddof=1)
        )
    return drift


def _warned_before(file: Path, step: int) -> dict[str, int]:
    """What a run that now goes on has said; steps that are taken again speak again."""
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return {rule: at for rule, at in known.items() if at < step}


def _logged_before(file: Path, step: int) -> list[dict[str, float]]:
    """What a run that now goes on had logged, one record a step."""
    if not file.exists():
        return []
    records = (json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())
    trained = {r["step"]: r for r in records if r["step"] < step and "reward/total" in r}
    return [trained[key] for key in sorted(trained)]
