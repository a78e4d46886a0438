"""Tokens per second of every engine, and of TRL's own vLLM, while an adapter is trained.

    .venv-vllm/bin/python benchmarks/generation.py          after make test-vllm: both shapes
    .venv-vllm/bin/python benchmarks/generation.py --shape embedded --repeats 1

Random weights in the shape of the embedded model and of SmolLM2-135M, LoRA r16, float32 on a CPU;
32 prompts of GSM8K's lengths in groups of 8, 64 tokens each. A round is what a step of training
asks for: the adapter has changed, is handed over, and all prompts are sampled. The first round
loads, compiles and is not counted. Each engine has a process of its own; they take turns. Seconds
are CPU seconds of one thread, a server's among them (on a GPU seconds), the median of the repeats.
TRL's is its `VLLMGeneration`, which merges the adapter and loads all weights.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import shared_prefix

ENGINES = ("transformers", "shared", "vllm_colocate", "vllm_server", "trl_colocate")
SHOTS, EXEMPLAR, ROWS, GROUP, NEW, ROUNDS = 8, 88, 32, 8, 64, 2
LONGEST = 2048  # tokens of a prompt and its completion


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", nargs="+", default=["embedded", "smollm2-135m"])
    parser.add_argument("--engine", nargs="+", choices=ENGINES, default=ENGINES)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args()


def work(shape, name):
    import torch
    from peft import LoraConfig, get_peft_model

    torch.set_num_threads(1)
    like = SimpleNamespace(
        shape=shape, layers=None, model=None, dtype="float32", exemplar=EXEMPLAR, rows=ROWS,
        group=GROUP, new_tokens=NEW,
    )  # fmt: skip
    prompts = [prompt for prompt, _ in shared_prefix.rows(like, SHOTS)]
    base = shared_prefix.load(like)
    tokenizer = shared_prefix.tokenizer(base.config.vocab_size)
    with tempfile.TemporaryDirectory() as folder:
        base.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        base.name_or_path = folder
        adapter = LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM")
        model = get_peft_model(base, adapter).eval()
        ask = trl(model, tokenizer) if name == "trl_colocate" else ours(name, tokenizer, folder)
        found = [one_round(model, prompts, ask) for _ in range(1 + ROUNDS)][1:]
        print(json.dumps({key: statistics.mean(r[key] for r in found) for key in found[0]}))


def one_round(model, prompts, ask):
    import torch

    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(1e-3 * torch.randn_like(weight))
    begin = clock()
    tokens, handed_over = ask(model, prompts)
    seconds = clock() - begin
    return {"rate": tokens / seconds, "seconds": seconds, "handed_over": handed_over}


def clock():
    import psutil
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    servers = (child.cpu_times() for child in psutil.Process().children())
    return time.process_time() + sum(times.user + times.system for times in servers)


def ours(name, tokenizer, folder):
    from rlvr.sampling.choose import EngineChoice, engine_for
    from rlvr.sampling.engine import Sampling
    from rlvr.sampling.shared import SharedEngine
    from rlvr.sampling.stop import StopRule
    from rlvr.sampling.vllm.settings import VllmSettings

    log = str(Path(folder) / "vllm.log")
    settings = VllmSettings(folder, None, False, "float32", LONGEST, 16, 0.3, log)
    if name == "shared":
        engine = SharedEngine(tokenizer, self_check=False)
    else:
        engine = engine_for(EngineChoice(name, settings), None, tokenizer, True, False)

    def ask(model, prompts):
        drawn = engine.sample(model, prompts, Sampling(NEW), StopRule(), range(len(prompts)))
        return sum(map(len, drawn.ids)), getattr(engine, "seconds_of_last_sync", 0.0)  # by the wall

    return ask


def trl(model, tokenizer):
    from accelerate import Accelerator
    from trl.generation.vllm_generation import VLLMGeneration

    made = VLLMGeneration(
        model, Accelerator(cpu=True), tokenizer, gpu_memory_utilization=0.3,
        max_model_length=LONGEST, max_completion_length=NEW,
    )  # fmt: skip

    def ask(model, prompts):
        begin = clock()
        made.sync_weights()
        handed_over = clock() - begin
        _, ids, *_ = made.generate(prompts, None, 1)
        return sum(map(len, ids)), handed_over

    return ask


def measured(shape, name):
    command = [sys.executable, __file__, "--worker", f"{shape} {name}"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        print(f"{shape}, {name}: {ended.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    return json.loads(next(x for x in reversed(ended.stdout.splitlines()) if x.startswith("{")))


def main():
    args = options()
    if args.worker:
        work(*args.worker.split())
        return
    print(
        "| model | engine | tokens/s | a round, s | of it handing over, s |\n|---|---|---|---|---|"
    )
    for shape in args.shape:
        found = {name: [] for name in args.engine}
        for _ in range(args.repeats):
            for name in args.engine:
                found[name].append(measured(shape, name))
        for name, results in found.items():
            if None in results:
                print(f"| {shape} | {name} | failed | | |")
                continue
            rate, seconds, over = (
                statistics.median(r[key] for r in results)
                for key in ("rate", "seconds", "handed_over")
            )
            print(f"| {shape} | {name} | {rate:.0f} | {seconds:.2f} | {over:.2f} |", flush=True)


if __name__ == "__main__":
    main()
