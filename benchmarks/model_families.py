"""Every causal language model that transformers can build at random: shared prefixes, or refused.

    python benchmarks/model_families.py               the table of docs/shared_prefix.md, minutes
    python benchmarks/model_families.py qwen2 doge    these alone

Each family is built small and random, in float32. What the guards let through is then computed in
full and compared with stock TRL and with transformers' `generate`, the self-check switched off, so
that a family which the guards let through and which is wrong is seen as that.
"""

import signal
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.trainer_callback import PrinterCallback, TrainerCallback

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "tests")]

import shared_prefix_harness as harness  # noqa: E402

from rlvr.prefix.probe import drawing, unshareable  # noqa: E402
from rlvr.prefix.support import unsupported_model  # noqa: E402
from rlvr.sampling.engine import Sampling  # noqa: E402
from rlvr.sampling.plain import PlainEngine  # noqa: E402
from rlvr.sampling.shared import SharedEngine  # noqa: E402
from rlvr.sampling.stop import StopRule  # noqa: E402
from rlvr.training.shared_prefix.update import Sharing  # noqa: E402

SECONDS = 90  # for one family
TOLERANCE = 1e-5
WIDTH, HEADS = 32, 4
SMALL = {
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "dim", "embed_dim"), WIDTH),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "d_ff", "n_inner", "ffn_hidden_size"), 64),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 16),
    **dict.fromkeys(("moe_shared_expert_intermediate_size", "expert_ffn_hidden_size"), 16),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), HEADS),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads", "n_head_kv"), 2),
    **dict.fromkeys(("head_dim", "qk_rope_head_dim", "qk_nope_head_dim"), 8),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank"), 16),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_topk", "moe_top_k", "top_k"), 2),
    **dict.fromkeys(("n_group", "topk_group", "first_k_dense_replace", "n_shared_experts"), 1),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx"), 512),
    **dict.fromkeys(("initializer_range", "init_std"), 0.2),
    **dict.fromkeys(("bos_token_id", "image_token_id"), None),
    "vocab_size": harness.VOCABULARY,
    "v_head_dim": 12,
    # What this recipe sets to 0 as well, and what would be refused for another reason than itself.
    **dict.fromkeys(("router_aux_loss_coef", "attention_dropout", "residual_dropout"), 0.0),
    "output_router_logits": False,
    "pad_token_id": 0,
    "eos_token_id": 1,
}
LATENT = {"num_key_value_heads": HEADS}  # every head has keys of its own


def build(family, folder):
    """A random model on disk, loaded anew for each use so that all uses have the same weights."""
    default = CONFIG_MAPPING[family]()
    if default.get_text_config() is not default:
        raise ValueError("a model with several parts")
    settings = {name: value for name, value in SMALL.items() if hasattr(default, name)}
    if "kv_lora_rank" in settings:
        settings |= LATENT
    config = CONFIG_MAPPING[family](**settings)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    if sum(p.numel() for p in model.parameters()) > 20e6:
        raise ValueError("more than 20 million parameters")
    with torch.no_grad():  # scales and biases are all ones and zeros, which trained ones are not
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(folder)


def load(folder):
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.config.bos_token_id = None
    return model.eval()


class Gradient(TrainerCallback):
    def on_pre_optimizer_step(self, *_, model, **__):
        named = model.named_parameters()
        self.found = {n: p.grad.clone() for n, p in named if p.grad is not None}


def gradient(folder, batch, sharing):
    settings = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 3}
    settings |= {"optim": "sgd", "max_grad_norm": 0.0}
    with tempfile.TemporaryDirectory() as output:
        trainer = harness.build(Path(output), batch, sharing, model=load(folder), **settings)
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(record := Gradient())
        trainer.train()
    return record.found


def distance(ours, stock):
    """Of all parameters together, relative."""
    norm = sum(float(g.double().norm()) ** 2 for g in stock.values()) ** 0.5
    zero = torch.zeros(())
    apart = sum(float((ours.get(n, zero) - g).double().norm()) ** 2 for n, g in stock.items())
    return apart**0.5 / norm


def same_samples(folder, batch):
    model, tokenizer = load(folder), harness.tokenizer()
    prompts = [prompt for prompt, _ in batch]
    arguments = (model, prompts, Sampling(12, temperature=0), StopRule(), range(len(prompts)))
    ours = SharedEngine(tokenizer, self_check=False).sample(*arguments)
    return ours == PlainEngine(tokenizer).sample(*arguments)


def verdict(family):
    """A family's line: (verdict, details)."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            build(family, folder)
            load(folder)(torch.tensor([[5, 6, 7]]))
        except Exception as error:
            return "not built", f"{type(error).__name__}: {error}".splitlines()[0][:90]
        model = load(folder)
        reasons = list(unsupported_model(model)) or unshareable(model) or drawing(model)
        if reasons:
            return "refused", "; ".join(reasons)[:160]
        batch = harness.few_shot(3)
        stock = gradient(folder, batch, None)
        modes = ("tree", "dense")
        found = {
            m: distance(gradient(folder, batch, Sharing(m, self_check=False)), stock) for m in modes
        }
        samples = same_samples(folder, batch)
        right = samples and max(found.values()) <= TOLERANCE
        text = ", ".join(f"{mode} {value:.0e}" for mode, value in found.items())
        return (
            "exact" if right else "WRONG",
            f"gradient {text}; samples {'same' if samples else 'differ'}",
        )


def too_long(*_):
    raise TimeoutError(f"more than {SECONDS} s")


def main():
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    signal.signal(signal.SIGALRM, too_long)
    count = Counter()
    print("| family | verdict | |\n|---|---|---|")
    for family in sys.argv[1:] or sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES):
        signal.alarm(SECONDS)
        try:
            result, details = verdict(family)
        except Exception as error:
            result, details = "FAILED", f"{type(error).__name__}: {error}".splitlines()[0][:160]
        signal.alarm(0)
        count[result] += 1
        print(f"| {family} | {result} | {details} |", flush=True)
    print(dict(count))


if __name__ == "__main__":
    main()
