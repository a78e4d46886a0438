"""What it saves to judge completions while others of their batch are sampled.

    python benchmarks/overlap.py

128 completions of the embedded model to the questions of `experiment=code_quickstart`. It writes
one short line to each, so here a completion ends at its first 7: some soon, some late, some never.
One question in eight has helpers that take a second, so that its candidates are slow whatever they
say. Both ways alternate in one process; verdicts must be the same. Prints a Markdown table.
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
from rlvr.sampling.stop import StopRule
from rlvr.training.model import load_model, load_tokenizer
from rlvr.verify.build import build_verifier
from rlvr.verify.judge import Begun, judge
from rlvr.verify.verdict import Verdict

ROOT = Path(__file__).resolve().parents[1]
GROUPS, GROUP, ROUNDS, SLOW = 16, 8, 5, 1.0
LONGEST, STOP = 256, StopRule(("7",))


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
    sampling = Sampling(LONGEST)

    def sampled(begun: Begun | None) -> Completions:
        told = begun.add if begun is not None else None
        return engine.sample(model, ids, sampling, STOP, range(len(ids)), told)

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
    lengths = sorted(map(len, sampled(None).ids))
    print(f"tokens of a completion: {lengths[0]} to {lengths[-1]}, median {lengths[64]}\n")
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
    slow = f"import time\ntime.sleep({SLOW / 2})\n" if number % 8 == 0 else ""  # here and there
    return {**row, "context": slow + (row.get("context") or "")}


if __name__ == "__main__":
    main()
