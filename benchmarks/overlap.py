"""What it saves to judge completions while others of their batch are sampled.

    python benchmarks/overlap.py

The rollouts of `experiment=code_quickstart`: 128 completions of the embedded model, with tests that
take a second for one in eight questions, so that their candidates are slow whatever they say. Both
ways alternate in one process; verdicts must be the same. Prints a Markdown table.
"""

import statistics
import time
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir

from rlvr import config
from rlvr.data.load import load_splits
from rlvr.sampling.engine import Completions, Sampling
from rlvr.sampling.shared import choose_engine
from rlvr.training.model import load_model, load_tokenizer
from rlvr.verify.build import build_verifier
from rlvr.verify.judge import Begun, judge
from rlvr.verify.verdict import Verdict

ROOT = Path(__file__).resolve().parents[1]
GROUPS, GROUP, ROUNDS, SLOW = 16, 8, 5, 1.0


def main() -> None:
    config.register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("config", ["experiment=code_quickstart", "trainer.self_check=false"])
    verifier = build_verifier(cfg.dataset)
    splits = load_splits(cfg.dataset, seed=1, verifier=verifier)
    rows = [slowed(splits.train[i // GROUP], i // GROUP) for i in range(GROUPS * GROUP)]
    tokenizer, model = load_tokenizer(cfg), load_model(cfg)
    engine = choose_engine(model, tokenizer, prefix_cache=True, self_check=False)
    ids = tokenizer(text=[row["prompt"] for row in rows])["input_ids"]
    sampling = Sampling(cfg.trainer.max_completion_length)

    def sampled(begun: Begun | None) -> Completions:
        told = begun.add if begun is not None else None
        return engine.sample(model, ids, sampling, splits.stop, range(len(ids)), told)

    def after() -> tuple[float, list[Verdict]]:
        texts = sampled(None).texts
        ended = time.perf_counter()
        return ended, judge(verifier, rows, texts)

    def meanwhile() -> tuple[float, list[Verdict]]:
        with Begun(verifier, rows) as begun:
            texts = sampled(begun).texts
            ended = time.perf_counter()
            return ended, judge(verifier, rows, texts, begun)

    first, found = meanwhile()[1], {}
    for _ in range(ROUNDS):
        for name, way in (("afterwards", after), ("meanwhile", meanwhile)):
            began = time.perf_counter()
            ended, verdicts = way()
            assert verdicts == first
            found.setdefault(name, []).append((ended - began, time.perf_counter() - began))
    print("| judged | sampled after, s | judged after, s |\n|---|---|---|")
    for name, seconds in found.items():
        one, two = (statistics.median(column) for column in zip(*seconds, strict=True))
        print(f"| {name} | {one:.2f} | {two:.2f} |")


def slowed(row: dict[str, Any], number: int) -> dict[str, Any]:
    slow = [f"time.sleep({SLOW})"] if number % 8 == 0 else []
    return {**row, "tests": [*slow, *row["tests"]]}


if __name__ == "__main__":
    main()
