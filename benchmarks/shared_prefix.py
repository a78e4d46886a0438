"""Shared-prefix GRPO against stock TRL: time and memory of an update, of sampling, of a step.

    python benchmarks/shared_prefix.py                        the whole table (hours on two cores)
    python benchmarks/shared_prefix.py --shots 8 --micro-batch 4 --layers 8      one cell
    python benchmarks/shared_prefix.py --model DIR            real weights instead of random ones

Three ways to update: stock TRL; "compact", stock whose head scores completion tokens alone, as it
does on CUDA; ours. Four ways to sample: stock `generate`, transformers' continuous batching, ours.
They alternate, each measurement in a process of its own, and medians are compared: CPU seconds of
the process (seconds on a GPU). Stock's time is proportional to rows, so it updates `--stock-rows`
of them and the time is scaled up. Peak memory is that of the process. Tokens are random; their
numbers are those of GSM8K under SmolLM2's tokenizer, with exemplars as long as the reference
recipe's (88 tokens) or ours (153). "token ratio" is all tokens over distinct ones, without padding.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path

QUESTION, COMPLETION = (73, 25), (110, 40)  # tokens; mean and standard deviation
SHAPES = {
    "embedded": (358, 128, 256, 2, 2, 2),
    "smollm2-135m": (49152, 576, 1536, 30, 9, 3),
    "qwen2.5-0.5b": (151936, 896, 4864, 24, 14, 2),
}
UPDATES, SAMPLERS = ("stock", "compact", "shared"), ("stock", "continuous", "shared")


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shots", type=int, nargs="+", default=[0, 8])
    parser.add_argument("--exemplar", type=int, default=88, help="tokens")
    parser.add_argument("--rows", type=int, default=32, help="of an optimizer step")
    parser.add_argument("--micro-batch", type=int, nargs="+", default=[4, 8, 16, 32], help="rows")
    parser.add_argument("--stock-rows", type=int, help="that stock updates; all without it")
    parser.add_argument("--group", type=int, default=8, help="rows of one question")
    parser.add_argument("--shape", choices=SHAPES, default="smollm2-135m")
    parser.add_argument("--layers", type=int, help="fewer layers than the shape has")
    parser.add_argument("--model", help="a directory with weights; random ones without it")
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--no-checkpointing", action="store_true", help="of gradients")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--new-tokens", type=int, default=64, help="sampled per row")
    parser.add_argument("--shared-prefix", default="auto", choices=["auto", "dense", "tree"])
    parser.add_argument("--phases", nargs="+", default=["update", "sample"])
    parser.add_argument("--output", type=Path, default=Path("outputs/benchmarks/shared_prefix"))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args()


def rows(args, shots):
    """Prompts and completions of random tokens, always the same for a cell."""
    import random

    rng = random.Random(0)
    vocabulary = SHAPES[args.shape][0]

    def tokens(n):
        return [rng.randrange(10, vocabulary) for _ in range(n)]

    def length(mean, deviation):
        return max(20, round(rng.gauss(mean, deviation)))

    prefix = tokens(args.exemplar * shots)
    prompts = [prefix + tokens(length(*QUESTION)) for _ in range(args.rows // args.group)]
    return [(prompts[i // args.group], tokens(length(*COMPLETION))) for i in range(args.rows)]


def counts(cell):
    """Tokens as they are, and distinct ones."""
    from rlvr.prefix.trie import pack, rows_of

    ids, mask, width = padded(cell)
    return int(mask.sum()), len(pack(rows_of(ids, mask, width)))


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
        model = AutoModelForCausalLM.from_pretrained(args.model, dtype=dtype)
        model.model.layers = model.model.layers[: args.layers]
        model.config.num_hidden_layers = len(model.model.layers)
        return model
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


def trainer(args, size, shared):
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
            per_device_train_batch_size=size,
            gradient_accumulation_steps=args.rows // size,
            num_generations=args.group,
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
    if not args.no_checkpointing:
        made.model.gradient_checkpointing_enable({"use_reentrant": False})
        made.model.enable_input_require_grads()
    if shared:  # `auto` would time stock as well
        made.choice.made = {"shared": True, "from_step": 0}
    return made


def cuda():
    import torch

    return torch.cuda.is_available()


def micro_batches(cell, size, device):
    """What TRL's `_compute_loss` is given, `size` rows each."""
    import torch

    ids, mask, width = padded(cell)
    whole = {
        "prompt_ids": ids[:, :-width],
        "prompt_mask": mask[:, :-width],
        "completion_ids": ids[:, -width:],
        "completion_mask": mask[:, -width:],
        "advantages": torch.linspace(-1, 1, len(ids)),
    }
    total = mask[:, -width:].sum()
    for i in range(0, len(ids), size):
        part = {key: value[i : i + size].to(device) for key, value in whole.items()}
        yield {**part, "num_items_in_batch": total.to(device)}


def update(made, cell, size):
    """Forward and backward of TRL's loss, for one optimizer step in micro-batches of `size`."""
    made._buffered_inputs = list(micro_batches(cell, size, made.accelerator.device))
    made.args.steps_per_generation = made.current_gradient_accumulation_steps = len(
        made._buffered_inputs
    )
    made._step = made._micro_batch = 0
    for inputs in made._buffered_inputs:
        made._compute_loss(made.model, inputs).backward()
        made._step += 1
        made._micro_batch += 1
    scorer = getattr(made, "scorer", None)
    if scorer and scorer.prefix:
        scorer.prefix.backward()
        scorer.prefix = None
    made.model.zero_grad()


def clock():
    """CPU seconds of this process, or seconds where a GPU works."""
    import torch

    if cuda():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def peak():
    """GB of this process, or of its GPU."""
    import torch

    if cuda():
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def time_update(args, cell, name, size):
    """Seconds of an update of all rows, and peak memory; `before` is what the process had."""
    from rlvr.training.trl_private import scoring_labels_only

    made = trainer(args, size, name == "shared")
    if name != "shared" and args.stock_rows:
        cell = cell[: args.stock_rows]
    small = [(prompt[-40:], completion[:20]) for prompt, completion in cell[: args.group]]
    before = peak()

    def once(cell, size):
        begin = clock()
        if name == "compact":
            with scoring_labels_only():
                update(made, cell, size)
        else:
            update(made, cell, size)
        return clock() - begin

    once(small, min(size, len(small)))  # first calls load kernels and fill caches
    return {"seconds": once(cell, size) * args.rows / len(cell), "peak": peak(), "before": before}


def time_sampling(args, cell, name, size):
    """Seconds to sample `--new-tokens` to each prompt."""
    from transformers import GenerationConfig

    from rlvr.sampling.engine import Sampling
    from rlvr.sampling.plain import PlainEngine
    from rlvr.sampling.shared import SharedEngine
    from rlvr.sampling.stop import StopRule

    one = trainer(args, size, shared=True)
    model = one.model.eval()
    tokenizer = one.processing_class

    def sample(prompts, n):
        if name == "continuous":
            config = GenerationConfig(max_new_tokens=n, do_sample=True, eos_token_id=-1)
            out = model.generate_batch(prompts, config)
            return sum(len(x.generated_tokens) for x in out.values())
        engine = PlainEngine(tokenizer) if name == "stock" else SharedEngine(tokenizer, False)
        out = engine.sample(model, prompts, Sampling(n), StopRule(), range(len(prompts)))
        return sum(map(len, out.ids))

    prompts = [prompt for prompt, _ in cell]
    sample([prompt[-40:] for prompt in prompts[: args.group]], 4)
    begin = clock()
    tokens = sample(prompts, args.new_tokens)
    return {"seconds": clock() - begin, "tokens": tokens, "peak": peak()}


WORK = {"update": time_update, "sample": time_sampling}


def work(args):
    import torch

    warnings.filterwarnings("ignore")
    torch.set_num_threads(args.threads)
    job = json.loads(args.worker)
    cell = rows(args, job["shots"])
    result = WORK[job["phase"]](args, cell, job["name"], job["size"])
    print(json.dumps(result))


def alternate(phase, shots, names, size, repeats):
    """Medians of what each way needs, one process a measurement; None where it fails."""
    found = {name: [] for name in names}
    for _ in range(repeats):
        for name in names:
            job = json.dumps({"phase": phase, "shots": shots, "name": name, "size": size})
            command = [sys.executable, __file__, *sys.argv[1:], "--worker", job]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                found[name].append(json.loads(done.stdout.splitlines()[-1]))
            else:
                print(name, done.stderr[-600:], file=sys.stderr)
    return {
        name: {key: statistics.median(x[key] for x in each) for key in each[0]} if each else None
        for name, each in found.items()
    }


def line(args, shots, size):
    """One row of the table of updates."""
    raw, distinct = counts(rows(args, shots))
    # Stock's time does not depend on the micro-batch: it is measured at the first one.
    names = UPDATES if size == args.micro_batch[0] else ("shared",)
    found = alternate("update", shots, names, size, args.repeats)
    result = {"shots": shots, "micro-batch": size, "token ratio": raw / distinct}
    for name in UPDATES:
        each = found.get(name)
        result[f"{name} s"] = each and each["seconds"]
        result[f"{name} GB"] = each and each["peak"]
    return result


def table(lines):
    def text(value):
        if value is None:
            return ""
        return f"{value:.2f}" if isinstance(value, float) else str(value)

    names = list(dict.fromkeys(name for x in lines for name in x))
    head = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return "\n".join(head + [f"| {' | '.join(text(x.get(n)) for n in names)} |" for x in lines])


def processor():
    """Its name, and whether it multiplies bf16 in units of its own."""
    info = Path("/proc/cpuinfo").read_text()
    name = next((x.split(":")[1].strip() for x in info.splitlines() if "model name" in x), "?")
    units = [flag for flag in ("amx_bf16", "avx512_bf16") if flag in info]
    return f"{name}; bf16 units: {', '.join(units) or 'none'}"


def main():
    args = options()
    if args.worker:
        return work(args)
    args.output.mkdir(parents=True, exist_ok=True)
    lines, sampled = [], []
    print(processor(), flush=True)
    for shots in args.shots:
        if "update" in args.phases:
            for size in args.micro_batch:
                lines.append(line(args, shots, size))
                print(lines[-1], flush=True)
        if "sample" in args.phases:
            found = alternate("sample", shots, SAMPLERS, args.micro_batch[0], args.repeats)
            sampled.append({"shots": shots, **{n: x and x["seconds"] for n, x in found.items()}})
            print(sampled[-1], flush=True)
    settings = {k: v for k, v in vars(args).items() if k not in ("worker", "output")}
    record = {"settings": settings, "processor": processor(), "update": lines, "sample": sampled}
    (args.output / "results.json").write_text(json.dumps(record, indent=1))
    text = "\n\n".join(table(part) for part in (lines, sampled) if part)
    (args.output / "table.md").write_text(text + "\n")
    print(text)
    return None


if __name__ == "__main__":
    main()
