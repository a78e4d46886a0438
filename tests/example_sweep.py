"""A sweep of 24 runs as they would leave it: 4 shot counts by 3 learning rates by 2 seeds.

The middle learning rate helps, the low one does little, the high one destroys the model and warns.
"""

import json
import math
import random
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from rlvr import result
from rlvr.evaluation.statistics import paired_test, wilson

SHOTS, RATES, SEEDS = (0, 2, 4, 8), (1e-5, 1e-4, 1e-3), (1, 2)
N = 150
STEPS = 60
BASE = {0: 0.05, 2: 0.3, 4: 0.36, 8: 0.38}
GAIN = {1e-5: 0.04, 1e-4: 0.3, 1e-3: -1.0}
Rows = list[dict[str, Any]]
MakeSweep = Callable[..., Path]


def write_example(make_sweep: MakeSweep) -> Path:
    grid = list(product(SHOTS, RATES, SEEDS))
    jobs = [f"shots={s} trainer.learning_rate={r:g} seed={seed}" for s, r, seed in grid]
    directory = make_sweep([(job, {"cost": 0.35}) for job in jobs], name="example")
    cells = []
    for number, (shots, rate, seed) in enumerate(grid):
        run = directory / str(number)
        after = min(1.0, max(0.0, BASE[shots] + GAIN[rate] + 0.02 * seed))
        base = _rows(BASE[shots], 0.7, random.Random(f"{shots}"))
        trained = _rows(after, 0.1 if rate == 1e-3 else 0.98, random.Random(f"{number}"))
        for phase, rows in (("base", base), ("trained", trained)):
            _write_lines(run / "evaluations" / f"{phase}.jsonl", rows)
        _write_lines(run / "metrics.jsonl", _metrics(BASE[shots], after, random.Random(number)))
        (run / "train.log").write_text(_log(rate))
        _result(run, shots, seed, base, trained)
        if (rate, seed) == (1e-4, 1):
            cells += [
                _cell(number, shots, asked, after - abs(shots - asked) / 40) for asked in SHOTS
            ]
    (directory / "evaluations.json").write_text(json.dumps(cells))
    return directory


def _rows(accuracy: float, format_rate: float, draw: random.Random) -> Rows:
    questions, rows = random.Random(0), []
    for place in range(N):
        hens, eggs, sold = (
            questions.randint(3, 40),
            questions.randint(2, 9),
            questions.randint(1, 6),
        )
        gold = hens * eggs - sold
        right, formed = draw.random() < accuracy, draw.random() < format_rate
        answer = gold if right else gold + draw.randint(1, 9)
        shown = f"#### {answer}" if right or formed else "I am not sure, perhaps more."
        rows.append({
            "id": f"{random.Random(place).getrandbits(64):016x}",
            "question": f"A farmer has {hens} hens that lay {eggs} eggs a day each. She sells "
            f"{sold} eggs on the first day and keeps the others. How many eggs does she keep?",
            "gold": str(gold),
            "completion": [f"{hens} hens lay {hens} * {eggs} = {hens * eggs} eggs. She sells "
                           f"{sold}, so {hens * eggs} - {sold} = {answer} are left.\n{shown}"],
            "correct": [right],
            "reward": [float(right)],
            "format_ok": [right or formed],
            "extracted": [str(answer) if right or formed else None],
            "reason": ["correct" if right else "wrong"],
            "tokens": [40],
            "ended": [True],
        })  # fmt: skip
    return rows


def _metrics(before: float, after: float, draw: random.Random) -> Rows:
    return [
        {
            "step": step,
            "reward/total": 0.5 + _way(before, after, step) + draw.gauss(0, 0.03),
            "reward/correctness": _way(before, after, step),
            "health/accuracy": min(1, max(0, _way(before, after, step) + draw.gauss(0, 0.03))),
            "train/length_mean": 60 - step / 3 + draw.gauss(0, 2),
            "train/entropy": 0.6 * math.exp(-step / 40) + draw.gauss(0, 0.01),
            "health/warnings": 0,
        }
        for step in range(1, STEPS + 1)
    ]


def _way(before: float, after: float, step: int) -> float:
    return before + (after - before) * (1 - math.exp(-step / 15))


def _log(rate: float) -> str:
    if rate < 1e-3:
        return "loading the model\n"
    return (
        "[WARNING] health, step 12: entropy is 9 % of its first value: the model hardly varies its "
        "answers any more. Lower trainer.learning_rate or raise trainer.beta.\n"
        "[WARNING] health, steps 35 to 39: 84 % of the completions have no answer line.\n"
    )


def _result(run: Path, shots: int, seed: int, base: Rows, trained: Rows) -> None:
    found = result.read(run)
    assert found
    before, after = _score(base), _score(trained)
    test = paired_test(*([row["correct"][0] for row in rows] for rows in (base, trained)))
    replace(
        found,
        metric=after["accuracy"],
        base=before,
        trained=after,
        paired=vars(test),
        seconds=600.0 + 45 * shots + seed,
        shots=shots,
        seed=seed,
        benchmarks={"svamp": {"base": before, "trained": after, "paired": vars(test)}},
        versions={"rlvr": "0.1", "torch": "2.9", "trl": "0.25"},
        datasets={"train": {"n": 7473, "digest": "1a2b3c"}, "test": {"n": N, "digest": "4d5e6f"}},
        git={"commit": "0123456789abcdef", "dirty": False, "diff_sha256": None},
    ).write(run)


def _score(rows: Rows) -> dict[str, Any]:
    right, formed = (sum(row[key][0] for row in rows) for key in ("correct", "format_ok"))
    return {
        **vars(wilson(right, len(rows))),
        "accuracy": right / len(rows),
        "n": len(rows),
        "format_rate": formed / len(rows),
        "well_formed_accuracy": right / formed if formed else None,
    }


def _cell(run: int, trained: int, asked: int, accuracy: float) -> dict[str, Any]:
    found = {"accuracy": accuracy, **vars(wilson(accuracy * N, N)), "n": N}
    return {"run": str(run), "train_shots": trained, "eval_shots": asked, "score": found}


def _write_lines(file: Path, rows: Rows) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
