"""`rlvr compare` and `rlvr report` on a sweep of 1,000 recorded runs: wall seconds of the command.

The runs are written, not trained: 10 shot counts by 10 learning rates by 10 seeds, each with
result.json, config.yaml and its answers to 200 questions before and after training.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from rlvr.evaluation.statistics import paired_test, wilson
from rlvr.manifest import Job, Manifest
from rlvr.result import Result
from rlvr.states import State

ROOT = Path(__file__).resolve().parents[1]
QUESTIONS = 200
SHOTS, RATES, SEEDS = range(10), [1e-5 * 2**n for n in range(10)], range(10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as folder:
        sweep = write_sweep(Path(folder))
        print("| command | seconds, median | worst |\n|---|---|---|")
        for words in (["compare"], ["compare", "--csv"], ["report"]):
            taken = [seconds([*words, str(sweep)], Path(folder)) for _ in range(repeats)]
            print(f"| rlvr {' '.join(words)} | {statistics.median(taken):.2f} | {max(taken):.2f} |")


def seconds(words: list[str], folder: Path) -> float:
    started = time.monotonic()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "RLVR_OUTPUT_DIR": str(folder)}
    command = [sys.executable, "-m", "rlvr", *words]
    subprocess.run(command, check=True, env=environment, cwd=folder, capture_output=True)
    return time.monotonic() - started


def write_sweep(root: Path) -> Path:
    sweep = root / "sweeps/recorded"
    jobs = [
        write_run(sweep, index, {"shots": s, "trainer.learning_rate": rate, "seed": seed})
        for index, (s, rate, seed) in enumerate(product(SHOTS, RATES, SEEDS))
    ]
    Manifest("0", "recorded", "2026-01-01T00:00:00+00:00", "local", ["train.py"], "accuracy",
             jobs=jobs).save(sweep)  # fmt: skip
    return sweep


def write_run(sweep: Path, index: int, settings: dict[str, Any]) -> Job:
    run, draw = sweep / str(index), random.Random(index)
    (run / "evaluations").mkdir(parents=True)
    overrides = [f"{key}={value}" for key, value in settings.items()]
    named = ["model.path=package:tiny", "dataset.name=recorded"]
    cfg = OmegaConf.from_dotlist([*overrides, *named])
    OmegaConf.save(cfg, run / "config.yaml")
    shares = {}
    for phase, accuracy in (("base", 0.3), ("trained", 0.3 + settings["shots"] / 20)):
        right = [draw.random() < accuracy for _ in range(QUESTIONS)]
        write_answers(run / "evaluations" / f"{phase}.jsonl", right)
        shares[phase] = list(map(float, right))
    test = vars(paired_test(shares["base"], shares["trained"]))
    result = Result(status=State.finished, metric=statistics.fmean(shares["trained"]), paired=test,
                    base=score(shares["base"]), trained=score(shares["trained"]),
                    shots=settings["shots"], seed=settings["seed"], seconds=60.0)  # fmt: skip
    result.write(run)
    return Job(index, ",".join(overrides), "", overrides, str(index), State.finished)


def write_answers(file: Path, right: list[bool]) -> None:
    rows = [
        {"id": f"{n:016x}", "question": "How many eggs are left? " * 8, "gold": "7",
         "completion": ["Three and four make seven. " * 8], "correct": [r], "reward": [float(r)],
         "reason": ["correct" if r else "wrong"], "extracted": ["7" if r else "9"],
         "format_ok": [True], "tokens": [60], "ended": [True]}
        for n, r in enumerate(right)
    ]  # fmt: skip
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def score(shares: list[float]) -> dict[str, Any]:
    interval = wilson(sum(shares), len(shares))
    return {"accuracy": statistics.fmean(shares), "low": interval.low, "high": interval.high,
            "n": len(shares), "format_rate": 1.0}  # fmt: skip


if __name__ == "__main__":
    main()
