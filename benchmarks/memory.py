"""Peak memory of training steps, measured against the estimate: each cell in a process of its own.

A cell is a random model of a known shape, saved once, and two optimizer steps of a real run on the
CPU. Measured is the process's highest resident memory above what it held after a run of the
embedded model. Large tensors are mapped one by one, so that holes in the heap are not counted.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

ROOT = Path(__file__).resolve().parents[1]
SHAPES: dict[str, dict[str, int]] = {
    "39M": {"hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 8,
            "num_attention_heads": 8, "num_key_value_heads": 2, "vocab_size": 32000},
    "135M": {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
             "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152},
    "500M": {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
             "num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": 151936},
}  # fmt: skip
STOCK = ["trainer.shared_prefix=off", "trainer.prefix_cache=false"]
KEPT = ["trainer.gradient_checkpointing=false"]
CELLS: list[tuple[str, list[str]]] = [
    ("39M", ["peft=none", *KEPT]),
    ("39M", ["peft=lora", *KEPT]),
    ("39M", ["peft=none", "trainer.micro_batch_size=4", "shots=8", *KEPT]),
    ("39M", ["peft=lora", "trainer.micro_batch_size=4", "shots=8", *KEPT]),
    ("39M", ["peft=lora", "trainer.micro_batch_size=8", "shots=4", *KEPT, *STOCK]),
    ("39M", ["peft=none", "shots=8"]),
    ("135M", ["peft=lora", "trainer.micro_batch_size=8", *KEPT]),
    ("135M", ["peft=lora", "shots=8"]),
    ("135M", ["peft=none", "trainer.micro_batch_size=4"]),
    ("39M", ["peft=lora", "model.dtype=bfloat16", "trainer.micro_batch_size=8", *KEPT]),
]
COMMON = [
    *("dataset=word_problems", "rewards=random", "eval=none", "tracking=none", "shots=2"),
    *("trainer.max_steps=2", "trainer.max_completion_length=32", "trainer.skip_zero_advantage=off"),
    *("dataset.loader.train_size=200", "dataset.loader.test_size=8", "trainer.self_check=false"),
    *("model.dtype=float32", "trainer.batch_size=16"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cell", help="measure one, as JSON [model directory, overrides]")
    parser.add_argument("--only", type=int, nargs="*", help="numbers of cells")
    arguments = parser.parse_args()
    if arguments.cell:
        print(json.dumps(measure(*json.loads(arguments.cell))))
        return
    print("| model | settings | measured, MB | estimated, MB | off |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, overrides) in enumerate(CELLS):
            if arguments.only is None or number in arguments.only:
                cell = run_cell(Path(folder), name, overrides)
                off = cell["estimated"] / cell["measured"] - 1
                megabytes = [f"{cell[key] / 1e6:.0f}" for key in ("measured", "estimated")]
                settings = ", ".join(o.removeprefix("trainer.") for o in overrides)
                print(f"| {name} | {settings} | {' | '.join(megabytes)} | {off:+.0%} |", flush=True)
                print(json.dumps(cell["parts"]), file=sys.stderr, flush=True)


def run_cell(folder: Path, name: str, overrides: list[str]) -> dict[str, Any]:
    model = folder / name
    if not model.exists():
        save(model, SHAPES[name])
    environment = os.environ | {"PYTHONPATH": str(ROOT), "RLVR_OUTPUT_DIR": str(folder)}
    environment["MALLOC_MMAP_THRESHOLD_"] = "262144"  # bytes; a fixed one
    command = [sys.executable, __file__, "--cell", json.dumps([str(model), overrides])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    cell: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return cell


def save(folder: Path, shape: dict[str, int]) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from rlvr.assets.make_tiny import build_tokenizer

    tokenizer = build_tokenizer()
    torch.manual_seed(0)
    special = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    config = LlamaConfig(**shape, **special, bos_token_id=None, tie_word_embeddings=True)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def measure(model: str, overrides: list[str]) -> dict[str, Any]:
    from rlvr import estimate
    from rlvr.check import compose
    from rlvr.data.load import load_splits
    from rlvr.experiment import build_trainer
    from rlvr.machine import Machine
    from rlvr.progress import Progress
    from rlvr.rewards.build import build_rewards
    from rlvr.tracking import NullTracker
    from rlvr.verify.build import build_verifier

    cfg = compose([*COMMON, f"model.path={model}", *overrides])
    splits = load_splits(cfg.dataset, seed=cfg.seed, verifier=build_verifier(cfg.dataset))
    rewards = build_rewards(cfg.rewards)

    def train(cfg: DictConfig) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            made = (cfg, Path(folder), rewards, splits, NullTracker(), Progress(Path(folder)))
            trainer = build_trainer(*made)
            trainer.train()
        return trainer

    # Much is imported only when it is used: a run of the embedded model has it all.
    train(compose([*COMMON, *overrides, "model=tiny"]))
    gc.collect()
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the highest is counted from here
    trainer = train(cfg)
    batch = trainer.args.per_device_train_batch_size
    parts = estimate.plan(cfg, splits, Machine("this", 0, None), 1).memory
    assert parts is not None
    return {
        "measured": resident("VmHWM") - before,
        "estimated": parts.peak,
        "parts": {
            **vars(parts),
            "micro": batch,
            "length": trainer.state.log_history[-2]["completions/mean_length"],
        },
    }


def resident(name: str) -> int:
    """Bytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])


if __name__ == "__main__":
    main()
