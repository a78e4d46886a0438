"""What a token of decoding asks of a CUDA device, counted without one: kernels, waits, copies.

    python benchmarks/decode_counts.py

Random Qwen2 in bfloat16 with Qwen2.5-0.5B's 24 layers and its heads (14 of queries, 2 of keys) but
few channels, 8 rows, on the pretended device of tests/pretended_cuda: numbers of launches are real,
seconds are not to be had. A layer and the rest are told apart by 1 and 3 layers, a token by two
lengths. Waits are those of the host for the device, with an empty queue behind them; copies are
from pageable memory.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import torch  # noqa: E402
from pretended_cuda import guard  # noqa: E402
from shared_prefix_harness import tokenizer  # noqa: E402
from transformers import Qwen2Config, Qwen2ForCausalLM  # noqa: E402

from rlvr.sampling.engine import Sampling  # noqa: E402
from rlvr.sampling.plain import PlainEngine  # noqa: E402
from rlvr.sampling.shared import SharedEngine  # noqa: E402
from rlvr.sampling.stop import StopRule  # noqa: E402

LAYERS, ROWS, PROMPT, SHORT, LONG = 24, 8, 12, 20, 24
WAYS = ("transformers.generate", "plain", "cascade", "expanded", "expanded, captured")


def main():
    if reason := guard.unavailable():
        sys.exit(reason)
    guard.install()
    from pretended_cuda.fused import fused_attention
    from pretended_cuda.pretence import pretended_cuda

    print("| a token | layer | outside | 24 layers | waits | copies |\n|---|---|---|---|---|---|")
    with pretended_cuda() as record, fused_attention():
        for way in WAYS:
            few, many = (a_token(record, way, layers) for layers in (1, 3))
            layer = (many[0] - few[0]) / 2
            outside = few[0] - layer
            total = outside + LAYERS * layer
            counts = (layer, outside, total, *many[1:])
            print(f"| {way} | " + " | ".join(f"{n:g}" for n in counts) + " |", flush=True)


def a_token(record, way, layers):
    """Kernels, waits and copies: what a batch costs once is in both lengths."""
    model, counts = build(layers), []
    for length in (SHORT, LONG):
        record.clear()
        sample(model, way, length)
        counts.append([x.total() for x in (record.kernels, record.waits, record.copies)])
    return [(long - short) / (LONG - SHORT) for short, long in zip(*counts, strict=True)]


def build(layers):
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=95, hidden_size=112, intermediate_size=128, num_hidden_layers=layers,
        num_attention_heads=14, num_key_value_heads=2, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    return Qwen2ForCausalLM(config).to(torch.bfloat16).to("cuda").eval()


def sample(model, way, length):
    prompts = [[5 + i for i in range(PROMPT)]] * ROWS
    if way == "transformers.generate":
        ids = torch.tensor(prompts, device="cuda")
        with torch.no_grad():
            model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=length, do_sample=True,
                top_k=0, eos_token_id=999, pad_token_id=0,
            )  # fmt: skip
        return
    endless = tokenizer()
    endless.eos_token = "95"  # beyond the model's tokens
    engine = PlainEngine(endless)
    if way != "plain":
        engine = SharedEngine(endless, self_check=False, expand=way != "cascade")
        engine.recorder.works = way == "expanded, captured"
    engine.sample(model, prompts, Sampling(length), StopRule(), range(ROWS))


if __name__ == "__main__":
    main()
