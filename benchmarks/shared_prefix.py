"""Shared-prefix GRPO against stock TRL: time and memory of an update, of sampling, of a step.

    python benchmarks/shared_prefix.py                        the whole table (hours on two cores)
    python benchmarks/shared_prefix.py --checkpointing        likewise; more cells of stock fit
    python benchmarks/shared_prefix.py --shots 8 --batch 16 --layers 8      one cell
    python benchmarks/shared_prefix.py --model DIR            real weights instead of random ones

Stock and shared alternate in one process, and the medians are compared: CPU seconds of the process
(seconds on a GPU) and wall seconds. Peak memory is that of a process of its own for each. Tokens
are random; their numbers are those of GSM8K with eight exemplars under SmolLM2's tokenizer. Cells
in which stock would not fit into memory say so. "token ratio" is all tokens over distinct tokens,
what the update would gain if time were proportional to tokens; stock also computes padding and, on
a CPU, the vocabulary for every prompt token.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
import warnings
from functools import partial
from pathlib import Path

EXEMPLAR, QUESTION, COMPLETION = 88, (73, 25), (110, 40)  # tokens; mean and standard deviation
SHAPES = {
    "smollm2-135m": (49152, 576, 1536, 30, 9, 3),
    "qwen2.5-0.5b": (151936, 896, 4864, 24, 14, 2),
}
# What stock was seen to need: GB whatever the batch, and bytes per token, layer and unit of width.
FIXED, KEPT = 1.7, 36


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shots", type=int, nargs="+", default=[0, 2, 4, 8])
    parser.add_argument("--batch", type=int, nargs="+", default=[8, 16, 32], help="rows")
    parser.add_argument("--group", type=int, default=8, help="rows of one question")
    parser.add_argument("--shape", choices=SHAPES, default="smollm2-135m")
    parser.add_argument("--layers", type=int, help="fewer layers than the shape has")
    parser.add_argument("--model", help="a directory with weights; random ones without it")
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--checkpointing", action="store_true", help="gradient checkpointing")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--new-tokens", type=int, default=64, help="sampled per row")
    parser.add_argument("--shared-prefix", default="auto", choices=["auto", "dense", "tree"])
    parser.add_argument("--phases", nargs="+", default=["update", "memory", "sample"])
    parser.add_argument("--output", type=Path, default=Path("outputs/benchmarks/shared_prefix"))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args()


def rows(shots, batch, group, vocabulary):
    """Prompts and completions of random tokens, always the same for a cell."""
    import random

    rng = random.Random(0)

    def tokens(n):
        return [rng.randrange(10, vocabulary) for _ in range(n)]

    def length(mean, deviation):
        return max(20, round(rng.gauss(mean, deviation)))

    prefix = tokens(EXEMPLAR * shots)
    prompts = [prefix + tokens(length(*QUESTION)) for _ in range(max(1, batch // group))]
    return [(prompts[i * len(prompts) // batch], tokens(length(*COMPLETION))) for i in range(batch)]


def warm_up(args):
    """A small cell: first calls load kernels and fill caches."""
    return rows(0, args.group, args.group, SHAPES[args.shape][0])


def counts(cell):
    """Tokens: as stock pads them, as they are, and as distinct ones."""
    from rlvr.prefix.trie import pack, rows_of

    ids, mask, width = padded(cell)
    return ids.numel(), int(mask.sum()), len(pack(rows_of(ids, mask, width)))


def padded(cell):
    import torch

    left, right = max(len(p) for p, _ in cell), max(len(c) for _, c in cell)
    ids = torch.zeros(len(cell), left + right, dtype=torch.long)
    for i, (prompt, completion) in enumerate(cell):
        ids[i, left - len(prompt) : left + len(completion)] = torch.tensor(prompt + completion)
    return ids, (ids > 0).long(), right


def load(args):
    import torch
    from transformers import AutoModelForCausalLM, Qwen2Config

    dtype = getattr(torch, args.dtype)
    if args.model:
        return AutoModelForCausalLM.from_pretrained(args.model, dtype=dtype)
    vocabulary, hidden, inner, layers, heads, kv = SHAPES[args.shape]
    config = Qwen2Config(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=args.layers or layers,
        num_attention_heads=heads,
        num_key_value_heads=kv,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, dtype=dtype)


def tokenizer(vocabulary):
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.WordLevel({str(i): i for i in range(vocabulary)}, unk_token="0"))
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="0", eos_token="2", padding_side="left"
    )


def trainer(args, batch, shared):
    """A trainer with LoRA r16 on all linear layers."""
    from datasets import Dataset
    from peft import LoraConfig
    from trl import GRPOConfig, GRPOTrainer

    from rlvr.training.shared_prefix.update import SharedPrefixGRPOTrainer, Sharing

    model = load(args)
    common = {
        "model": model,
        "reward_funcs": [lambda completions, **_: [0.0] * len(completions)],
        "args": GRPOConfig(
            output_dir=str(args.output / "trainer"),
            per_device_train_batch_size=batch,
            num_generations=min(args.group, batch),
            report_to="none",
            bf16=False,
            use_cpu=not cuda(),
            gradient_checkpointing=False,
        ),
        "train_dataset": Dataset.from_dict({"prompt": ["0"]}),
        "processing_class": tokenizer(model.config.vocab_size),
        "peft_config": LoraConfig(r=16, lora_alpha=16, target_modules="all-linear"),
    }
    if not shared:
        made = GRPOTrainer(**common)
    else:
        sharing = Sharing(args.shared_prefix, skip_zero_advantage=False, self_check=False)
        made = SharedPrefixGRPOTrainer(**common, sharing=sharing)
    made.model.train()
    if args.checkpointing:
        made.model.gradient_checkpointing_enable({"use_reentrant": False})
        made.model.enable_input_require_grads()
    made.current_gradient_accumulation_steps = 1
    return made


def cuda():
    import torch

    return torch.cuda.is_available()


def update(made, cell):
    """Forward and backward of TRL's loss on the cell's rows."""
    import torch

    ids, mask, width = (
        x.to(made.accelerator.device) if hasattr(x, "to") else x for x in padded(cell)
    )
    inputs = {
        "prompt_ids": ids[:, :-width],
        "prompt_mask": mask[:, :-width],
        "completion_ids": ids[:, -width:],
        "completion_mask": mask[:, -width:],
        "advantages": torch.linspace(-1, 1, len(ids), device=ids.device),
        "num_items_in_batch": mask[:, -width:].sum(),
    }
    made._compute_loss(made.model, inputs).backward()
    made.model.zero_grad()


def clock():
    """CPU seconds of this process, or seconds where a GPU works."""
    import torch

    if cuda():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def alternate(works, repeats):
    """Median of each number that each piece of work returns."""
    results = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            results[name].append(work())
    return {
        name: {key: statistics.median(r[key] for r in rounds) for key in rounds[0]}
        for name, rounds in results.items()
    }


def time_update(args, cell, variants):
    """CPU and wall seconds of an update."""
    made = {name: trainer(args, len(cell), name == "shared") for name in variants}
    for one in made.values():
        update(one, warm_up(args))

    def once(name):
        begin, wall = clock(), time.perf_counter()
        update(made[name], cell)
        return {"cpu": clock() - begin, "wall": time.perf_counter() - wall}

    return alternate({name: partial(once, name) for name in variants}, args.repeats)


def time_sampling(args, cell, variants):
    """CPU seconds until the prompts are read and, from then on, per sampled token."""
    from rlvr.sampling.engine import Sampling
    from rlvr.sampling.plain import PlainEngine
    from rlvr.sampling.shared import SharedEngine
    from rlvr.sampling.stop import StopRule

    one = trainer(args, len(cell), True)
    model, prompts = one.model.eval(), [prompt for prompt, _ in cell]
    ends = []
    model.get_base_model().register_forward_hook(lambda *_: ends.append(clock()))
    engines = {"stock": PlainEngine, "shared": SharedEngine}

    def generate_from(name, prompts, new_tokens):
        engine = engines[name](one.processing_class)
        engine.sample(model, prompts, Sampling(new_tokens), StopRule(), range(len(prompts)))

    def once(name):
        ends.clear()
        begin = clock()
        generate_from(name, prompts, args.new_tokens)
        token = (ends[-1] - ends[0]) / (len(ends) - 1) / len(cell)
        return {"prefill": ends[0] - begin, "token": token, "all": ends[-1] - begin}

    for name in variants:
        generate_from(name, [prompt for prompt, _ in warm_up(args)], 4)
    return alternate({name: partial(once, name) for name in variants}, args.repeats)


def peak_memory(args, cell, variants):
    """Peak memory in GB of a process that does one update; that of its GPU where there is one."""
    import torch

    (name,) = variants
    update(trainer(args, len(cell), name == "shared"), cell)
    if cuda():
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


WORK = {"update": time_update, "memory": peak_memory, "sample": time_sampling}


def stock_memory(args, tokens):
    """GB of a process in which stock updates on `tokens` padded tokens."""
    _, hidden, inner, layers, _, _ = SHAPES[args.shape]
    layers = args.layers or layers
    kept = KEPT * (hidden + inner) * (1 if args.checkpointing else layers)
    return FIXED + tokens * (kept + 4 * hidden * layers) / 2**30


def free_memory():
    import torch

    if cuda():
        return torch.cuda.mem_get_info()[0] / 2**30
    lines = Path("/proc/meminfo").read_text().splitlines()
    return int(next(x for x in lines if x.startswith("MemAvailable")).split()[1]) / 2**20


def run(phase, shots, batch, variants):
    """One measurement in a process of its own."""
    job = json.dumps({"phase": phase, "shots": shots, "batch": batch, "variants": variants})
    command = [sys.executable, __file__, *sys.argv[1:], "--worker", job]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def work(args):
    import torch

    warnings.filterwarnings("ignore")
    torch.set_num_threads(args.threads)
    job = json.loads(args.worker)
    cell = rows(job["shots"], job["batch"], args.group, SHAPES[args.shape][0])
    print(json.dumps(WORK[job["phase"]](args, cell, job["variants"])))


def measure(args, shots, batch):
    padded_tokens, raw, distinct = counts(rows(shots, batch, args.group, SHAPES[args.shape][0]))
    need, have = stock_memory(args, padded_tokens), free_memory()
    both = ["stock", "shared"]
    result = {"shots": shots, "batch": batch, "padded": padded_tokens, "raw": raw}
    result |= {"distinct": distinct, "bound": raw / distinct, "stock_estimate": need}
    variants = both if need < 0.9 * have else ["shared"]
    if "update" in args.phases:
        result["update"] = run("update", shots, batch, variants)
    if "memory" in args.phases:
        result["memory"] = {v: run("memory", shots, batch, [v]) for v in variants}
    if "sample" in args.phases:
        result["sample"] = run("sample", shots, batch, both)
    return result


def ratio(measured, key):
    if "stock" not in measured:
        return None
    return measured["stock"][key] / measured["shared"][key]


def summary(cell):
    """The columns of one line of the table; None where stock was not run."""
    line = {"shots": cell["shots"], "rows": cell["batch"], "token ratio": cell["bound"]}
    update, sample = cell.get("update"), cell.get("sample")
    if update:
        line |= {"stock s": update.get("stock", {}).get("cpu"), "shared s": update["shared"]["cpu"]}
        line |= {"update x": ratio(update, "cpu"), "wall x": ratio(update, "wall")}
    if memory := cell.get("memory"):
        line |= {"stock GB": memory.get("stock"), "shared GB": memory["shared"]}
    if sample:
        line |= {"prefill x": ratio(sample, "prefill"), "decode x": ratio(sample, "token")}
        line["shared tok/s"] = 1 / sample["shared"]["token"]
    if update and sample:
        step = {n: update[n]["cpu"] + sample[n]["all"] for n in update.keys() & sample.keys()}
        line["step x"] = step["stock"] / step["shared"] if "stock" in step else None
    return line


def table(lines):
    def text(value):
        if value is None:
            return "does not fit"
        return f"{value:.2f}" if isinstance(value, float) else str(value)

    names = list(dict.fromkeys(name for line in lines for name in line))
    head = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return "\n".join(head + [f"| {' | '.join(text(x.get(n)) for n in names)} |" for x in lines])


def chart(lines, path):
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4))
    for batch in dict.fromkeys(line["rows"] for line in lines):
        mine = [line for line in lines if line["rows"] == batch]
        shots = [line["shots"] for line in mine]
        (bound,) = axes[0].plot(shots, [x["token ratio"] for x in mine], "--", alpha=0.5)
        found = [(x["shots"], x["update x"]) for x in mine if x.get("update x")]
        label, colour = f"{batch} rows", bound.get_color()
        axes[0].plot(*zip(*found, strict=True), "o-", color=colour, label=label)
        axes[1].plot(shots, [x["shared s"] for x in mine], "o-", color=colour, label=label)
        stock = [(x["shots"], x["stock s"]) for x in mine if x["stock s"]]
        axes[1].plot(*zip(*stock, strict=True), "x:", color=colour)
    axes[0].set(title="Update: times faster than stock TRL", xlabel="shots")
    axes[1].set(title="Update: seconds (dotted: stock TRL)", xlabel="shots", yscale="log")
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.legend()
    figure.text(0.5, 0.01, "dashed: ratio of all tokens to distinct tokens", ha="center", size=8)
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    figure.savefig(path, dpi=150)


def main():
    args = options()
    if args.worker:
        return work(args)
    args.output.mkdir(parents=True, exist_ok=True)
    cells, lines = [], []
    for batch in args.batch:
        for shots in args.shots:
            cells.append(measure(args, shots, batch))
            lines.append(summary(cells[-1]))
            print(lines[-1], flush=True)
            settings = {k: v for k, v in vars(args).items() if k not in ("worker", "output")}
            record = json.dumps({"settings": settings, "cells": cells}, indent=1)
            (args.output / "results.json").write_text(record)
    (args.output / "table.md").write_text(table(lines) + "\n")
    if "update" in args.phases:
        chart(lines, args.output / "chart.png")
    print(table(lines))
    return None


if __name__ == "__main__":
    main()
