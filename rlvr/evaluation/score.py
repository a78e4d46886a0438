"""What evaluated rows amount to: accuracy and how sure it is, and why answers failed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rlvr.evaluation.statistics import mean_interval, paired_test, pass_at_k, wilson
from rlvr.verify.verdict import pass_rates

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Score:
    """Accuracy over `n` questions; `correct` is their sum of shares, so it may be fractional.

    Of code also: `outcomes` and signs of `gaming`, completions each, and the share of tests passed:
    of `all`, and of questions that have both of `shown` and of `hidden` ones.
    """

    accuracy: float
    low: float
    high: float
    n: int
    correct: float
    pass_at_k: dict[str, float] = field(default_factory=dict)
    pass_at_k_intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    mean_length: float = 0.0
    format_rate: float = 0.0
    well_formed_accuracy: float | None = None  # of the well-formed answers; None without any
    ended_rate: float = 0.0
    reasons: dict[str, int] = field(default_factory=dict)
    outcomes: dict[str, int] = field(default_factory=dict)
    gaming: dict[str, int] = field(default_factory=dict)
    tests_passed: dict[str, float] = field(default_factory=dict)


def shares(rows: Rows) -> list[float | None]:
    """Share of right answers a question, (n,); None where the verifier itself failed on it."""
    return [
        None if None in row["reward"] else sum(row["correct"]) / len(row["correct"]) for row in rows
    ]


def score(rows: Rows) -> Score:
    """Summary of evaluated rows. Questions the verifier failed on are left out of `n`.

    The interval takes questions, not samples, as independent: with k > 1 it is conservative.
    """
    known = [row for row, share in zip(rows, shares(rows), strict=True) if share is not None]
    if not known:
        raise ValueError("no question could be verified; see the evaluation's rows for the reasons")
    right = sum(s for s in shares(known) if s is not None)
    interval = wilson(right, len(known))
    k = len(known[0]["correct"])
    passes = {
        str(i): [pass_at_k(sum(row["correct"]), k, i) for row in known] for i in pass_sizes(k)
    }
    parts = ("correct", "format_ok", "tokens", "ended")
    every = {key: [v for row in known for v in row[key]] for key in parts}
    well_formed = [c for c, ok in zip(every["correct"], every["format_ok"], strict=True) if ok]
    return Score(
        accuracy=right / len(known),
        low=interval.low,
        high=interval.high,
        n=len(known),
        correct=right,
        pass_at_k={key: _mean(values) for key, values in passes.items()},
        pass_at_k_intervals={key: _interval(values) for key, values in passes.items()},
        mean_length=_mean(every["tokens"]),
        format_rate=_mean(every["format_ok"]),
        well_formed_accuracy=_mean(well_formed) if well_formed else None,
        ended_rate=_mean(every["ended"]),
        reasons=dict(Counter(reason for row in rows for reason in row["reason"])),
        **_executed([ran for row in rows for ran in row.get("execution", ()) if ran]),
    )


def pass_sizes(k: int) -> list[int]:
    """Of pass@: 1, 2, 5, 10, 20, ... and k itself."""
    series = (digit * 10**power for power in range(len(str(k))) for digit in (1, 2, 5))
    return sorted({size for size in series if size <= k} | {k})


def _interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % bootstrap interval over questions; Wilson's where all questions are alike."""
    alike = min(values) == max(values)
    found = wilson(sum(values), len(values)) if alike else mean_interval(values)
    return found.low, found.high


def _executed(ran: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if not ran:
        return {}
    return {
        "outcomes": dict(Counter(execution["outcome"] for execution in ran)),
        "gaming": dict(Counter(sign for execution in ran for sign in execution["signs"])),
        "tests_passed": pass_rates([(e["shown"], e["hidden"]) for e in ran]),
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def paired(base: Rows, trained: Rows) -> dict[str, Any]:
    """Base against trained on the questions both could be verified on."""
    pairs = [
        (b, t)
        for b, t in zip(shares(base), shares(trained), strict=True)
        if b is not None and t is not None
    ]
    return asdict(paired_test([b for b, _ in pairs], [t for _, t in pairs]))


def brief(summary: dict[str, Any]) -> dict[str, Any]:
    """A score without what is said of the texts and not of a rule that judges them."""
    return {part: summary[part] for part in ("accuracy", "low", "high", "n", "correct")}


def headline(
    base: dict[str, Any] | None, trained: dict[str, Any] | None
) -> dict[str, float | None]:
    """What one looks for first, under names that sort before all others: the accuracy after
    training, that of the base model, and the gain as a share of one. MLflow shows the metrics
    without a prefix last, so these have one."""
    before, after = ((score or {}).get("accuracy") for score in (base, trained))
    gain = None if before is None or after is None else after - before
    return {"accuracy/trained": after, "accuracy/gain": gain, "accuracy/base": before}


def metrics(prefix: str, summary: dict[str, Any]) -> dict[str, float]:
    """A score as tracker metrics: `base/accuracy`, `base/pass_at_4`, `base/reason_wrong`, ...;
    of the reasons those that occurred, and nothing twice."""
    flat = {key: value for key, value in summary.items() if key != "correct"}
    several = {k: v for k, v in flat.pop("pass_at_k", {}).items() if k != "1"}
    named = {f"pass_at_{k}": v for k, v in several.items()}
    for k, bounds in flat.pop("pass_at_k_intervals", {}).items():
        if k in several:
            named |= dict(zip((f"pass_at_{k}_low", f"pass_at_{k}_high"), bounds, strict=True))
    named |= {f"reason_{reason}": n for reason, n in flat.pop("reasons", {}).items() if n}
    named |= {f"outcome_{outcome}": n for outcome, n in flat.pop("outcomes", {}).items()}
    named |= {f"gaming_{sign}": n for sign, n in flat.pop("gaming", {}).items()}
    named |= {f"tests_passed_{which}": s for which, s in flat.pop("tests_passed", {}).items()}
    known = {name: value for name, value in {**flat, **named}.items() if value is not None}
    return {f"{prefix}/{name}": float(value) for name, value in known.items()}
