"""Answer every question of a split, verify the answers, and say how sure the accuracy is."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rlvr.evaluation.statistics import pass_at_k, wilson
from rlvr.sampling.plain import Completions
from rlvr.sampling.stop import StopRule
from rlvr.verify.verdict import Reason, Verifier

Rows = list[dict[str, Any]]
# Prompts to completions; the caller binds model, tokenizer, sampling and stop rule.
Generate = Callable[[Sequence[str]], Completions]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Score:
    """Accuracy over `n` questions; `correct` is their sum of shares, so it may be fractional."""

    accuracy: float
    low: float
    high: float
    n: int
    correct: float
    pass_at_k: dict[str, float] = field(default_factory=dict)
    mean_reward: float = 0.0
    mean_length: float = 0.0
    format_rate: float = 0.0
    ended_rate: float = 0.0
    reasons: dict[str, int] = field(default_factory=dict)


def evaluate(
    generate: Generate,
    dataset: Iterable[dict[str, Any]],
    verifier: Verifier,
    stop: StopRule,
    *,
    k: int,
    batch_size: int,
    file: Path,
    progress: Progress = lambda done, total: None,
) -> Rows:
    """`k` answers to each question; rows are written to `file` as they come, returned in order.

    A question has `index`, `prompt`, `question`, `gold` and whatever columns its verifier reads.
    Questions are batched by prompt length, longest first, so that a batch that does not fit into
    memory fails at once and padding stays small. Rows already in `file` are not made again.
    """
    rows = _read(file)
    todo = [example for example in dataset if example["index"] not in rows]
    todo.sort(key=lambda example: len(example["prompt"]), reverse=True)
    total = len(rows) + len(todo)
    per_batch = max(1, batch_size // k)
    with file.open("a", encoding="utf-8") as out:
        for start in range(0, len(todo), per_batch):
            for row in _answer(generate, todo[start : start + per_batch], verifier, stop, k):
                rows[row["index"]] = row
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
            out.flush()
            progress(len(rows), total)
    return [rows[i] for i in sorted(rows)]


def _read(file: Path) -> dict[int, dict[str, Any]]:
    """Rows of an interrupted evaluation; a torn last line is dropped."""
    if not file.exists():
        return {}
    whole = [
        line for line in file.read_text(encoding="utf-8").splitlines(True) if line.endswith("\n")
    ]
    file.write_text("".join(whole), encoding="utf-8")
    return {row["index"]: row for row in map(json.loads, whole)}


def _answer(
    generate: Generate, batch: Rows, verifier: Verifier, stop: StopRule, k: int
) -> Iterator[dict[str, Any]]:
    repeated = [example for example in batch for _ in range(k)]  # (questions * k)
    sampled = generate([example["prompt"] for example in repeated])
    texts = [stop.cut(text) for text in sampled.texts]
    columns = {key: [e[key] for e in repeated] for key in batch[0] if key not in ("prompt", "gold")}
    verdicts = verifier.verify(texts, [e["gold"] for e in repeated], **columns)
    for number, example in enumerate(batch):
        part = slice(number * k, number * k + k)
        yield {
            "index": example["index"],
            "question": example["question"],
            "gold": example["gold"],
            "correct": [v.correct for v in verdicts[part]],
            "reward": [v.reward for v in verdicts[part]],
            "reason": [v.reason.value for v in verdicts[part]],
            "extracted": [v.extracted for v in verdicts[part]],
            "format_ok": [v.format_ok for v in verdicts[part]],
            "tokens": [len(ids) for ids in sampled.ids[part]],
            "ended": sampled.ended[part],
            "completion": texts[part],
        }


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
    every = {
        key: [v for row in known for v in row[key]]
        for key in ("reward", "tokens", "format_ok", "ended")
    }
    return Score(
        accuracy=right / len(known),
        low=interval.low,
        high=interval.high,
        n=len(known),
        correct=right,
        pass_at_k={str(i): pass_at_k([sum(r["correct"]) for r in known], k, i) for i in _ks(k)},
        mean_reward=_mean(every["reward"]),
        mean_length=_mean(every["tokens"]),
        format_rate=_mean(every["format_ok"]),
        ended_rate=_mean(every["ended"]),
        reasons=dict(Counter(reason for row in rows for reason in row["reason"])),
    )


def _ks(k: int) -> list[int]:
    """1, 2, 4, ... and k itself."""
    return sorted({2**i for i in range(k.bit_length()) if 2**i <= k} | {k})


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def metrics(prefix: str, result: Score) -> dict[str, float]:
    """The score as tracker metrics: `base/accuracy`, `base/pass_at_4`, `base/reason_wrong`, ..."""
    flat = asdict(result)
    named = {f"pass_at_{k}": v for k, v in flat.pop("pass_at_k").items()}
    reasons = flat.pop("reasons")
    named |= {f"reason_{reason.value}": reasons.get(reason.value, 0) for reason in Reason}
    return {f"{prefix}/{name}": float(value) for name, value in {**flat, **named}.items()}
