"""Tokens per second of every engine, and of TRL's own vLLM, while an adapter is trained.

    .venv-vllm/bin/python benchmarks/generation.py          after make test-vllm: all engines
    .venv-vllm/bin/python benchmarks/generation.py --model embedded DIR     and another model
    python benchmarks/generation.py                         without vLLM: ours and transformers

LoRA r16 on all linear layers, float32 on a CPU, bfloat16 on a GPU; 32 prompts of 8 shots, word
problems in groups of 8, at most 64 tokens each. A round is what a step of training asks for: the
adapter has changed, is handed over, and all prompts are sampled. The first round loads, compiles
and is not counted. Each engine has a process of its own; they take turns. Seconds are CPU seconds
of one thread, a server's among them (on a GPU seconds), the median of the repeats. TRL's is its
`VLLMGeneration`, which merges the adapter and loads all weights. "ngram" is
trainer.vllm.speculation, for GPUs alone. On a GPU "shared" decodes over a copy of the prompt's keys
for each row, "cascade" without copies, as on a CPU. Engines compare themselves with the model in
the first round.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rlvr.machine import visible_gpus
from rlvr.sampling.vllm.settings import unusable

WITHOUT_VLLM = ("transformers", "shared", *(["cascade"] if visible_gpus() else []))
ENGINES = (*WITHOUT_VLLM, "vllm_colocate", "vllm_server", "trl_colocate")
NGRAM = "vllm_colocate+ngram"
SHOTS, ROWS, GROUP, NEW, ROUNDS = 8, 32, 8, 64, 5
LONGEST = 1024  # tokens of a prompt and its completion
DTYPE, DEVICE = ("bfloat16", "cuda") if visible_gpus() else ("float32", "cpu")


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", nargs="+", default=["embedded"], help="or directories")
    parser.add_argument("--engine", nargs="+", choices=(*ENGINES, NGRAM))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def work(path, name):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from rlvr.paths import ASSETS

    torch.set_num_threads(1)
    path = str(ASSETS / "tiny") if path == "embedded" else path
    tokenizer = AutoTokenizer.from_pretrained(path, padding_side="left")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    dtype = getattr(torch, DTYPE)
    base = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, device_map=DEVICE)
    asked = tokenizer(questions())["input_ids"]
    with tempfile.TemporaryDirectory() as folder:
        base.save_pretrained(folder)  # in the trainer's precision, for all of them
        tokenizer.save_pretrained(folder)
        base.name_or_path = folder
        adapter = LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM")
        model = get_peft_model(base, adapter).eval()
        ask = trl(model, tokenizer) if name == "trl_colocate" else ours(name, tokenizer, folder)
        found = [one_round(model, asked, ask) for _ in range(1 + ROUNDS)][1:]
        print(json.dumps({key: statistics.mean(r[key] for r in found) for key in found[0]}))


def questions():
    from rlvr.check import compose
    from rlvr.data.load import load_splits
    from rlvr.verify.build import build_verifier

    cfg = compose(["model=tiny", "dataset=word_problems", f"shots={SHOTS}"])
    train = load_splits(cfg.dataset, seed=1, verifier=build_verifier(cfg.dataset)).train
    return [text for text in train[: ROWS // GROUP]["prompt"] for _ in range(GROUP)]


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
    from rlvr.config.generation import GUESSES
    from rlvr.sampling.choose import EngineChoice, engine_for
    from rlvr.sampling.engine import Sampling
    from rlvr.sampling.shared import SharedEngine
    from rlvr.sampling.stop import StopRule
    from rlvr.sampling.vllm.settings import VllmSettings

    log = str(Path(folder) / "vllm.log")
    name, _, guessing = name.partition("+")
    guesses = GUESSES if guessing else 0
    settings = VllmSettings(folder, None, False, DTYPE, LONGEST, 16, 0.3, log, guesses)
    if name in WITHOUT_VLLM[1:]:
        engine = SharedEngine(tokenizer, expand=None if name == "shared" else False)
    else:
        engine = engine_for(EngineChoice(name, settings), None, tokenizer, True)

    def ask(model, prompts):
        drawn = engine.sample(model, prompts, Sampling(NEW), StopRule(), range(len(prompts)))
        return sum(map(len, drawn.ids)), getattr(engine, "seconds_of_last_sync", 0.0)  # by the wall

    return ask


def trl(model, tokenizer):
    from accelerate import Accelerator
    from trl.generation.vllm_generation import VLLMGeneration

    made = VLLMGeneration(
        model, Accelerator(cpu=DEVICE == "cpu"), tokenizer, gpu_memory_utilization=0.3,
        max_model_length=LONGEST, max_completion_length=NEW,
    )  # fmt: skip

    def ask(model, prompts):
        begin = clock()
        made.sync_weights()
        handed_over = clock() - begin
        _, ids, *_ = made.generate(prompts, None, 1)
        return sum(map(len, ids)), handed_over

    return ask


def measured(model, name):
    command = [sys.executable, __file__, "--worker", model, name]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:  # vLLM's libraries have much to say after the error
        lines = [x for x in ended.stderr.splitlines() if "Error" in x]
        print(f"{model}, {name}: {lines[-1] if lines else ended.stderr}", file=sys.stderr)
        return None
    last = next(x for x in reversed(ended.stdout.splitlines()) if x.startswith("{"))
    print(f"{model}, {name}: {last}", file=sys.stderr, flush=True)
    return json.loads(last)


def main():
    args = options()
    if args.worker:
        work(*args.worker)
        return
    reason = unusable()
    with_vllm = (*ENGINES, NGRAM) if visible_gpus() else ENGINES
    names = args.engine or (WITHOUT_VLLM if reason else with_vllm)
    if reason:
        print(f"vLLM is left out: {reason}", file=sys.stderr)
    print(
        "| model | engine | tokens/s | a round, s | of it handing over, s |\n|---|---|---|---|---|"
    )
    for model in args.model:
        found = {name: [] for name in names}
        for _ in range(args.repeats):
            for name in names:
                found[name].append(measured(model, name))
        for name, results in found.items():
            if None in results:
                print(f"| {model} | {name} | failed | | |", flush=True)
                continue
            rate, seconds, over = (
                statistics.median(r[key] for r in results)
                for key in ("rate", "seconds", "handed_over")
            )
            print(f"| {model} | {name} | {rate:.0f} | {seconds:.2f} | {over:.2f} |", flush=True)


if __name__ == "__main__":
    main()
