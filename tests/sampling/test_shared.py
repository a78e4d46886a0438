"""Shared generation against transformers' own `generate`."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from scipy.stats import chi2_contingency

from rlvr.sampling.plain import Sampling, eos_token_ids, generate, generation_config
from rlvr.sampling.shared import generate_shared, prefill, processors, sampler
from rlvr.sampling.stop import StopRule

pytestmark = pytest.mark.filterwarnings("ignore")

NEVER = StopRule()
FAMILIES = ["qwen2", "llama", "olmo2"]


def prompts(harness: Any, shots: int, groups: int = 3, size: int = 4) -> list[list[int]]:
    return [prompt for prompt, _ in harness.few_shot(shots, groups, size)]


@pytest.mark.parametrize("shots", [0, 1, 8])
@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_is_identical(harness: Any, tmp_path: Path, family: str, shots: int) -> None:
    model, tokenizer = harness.tiny_model(tmp_path, family), harness.tokenizer()
    arguments = (tokenizer, prompts(harness, shots), Sampling(24, temperature=0), NEVER)
    assert generate_shared(model, *arguments) == generate(model, *arguments)


@pytest.mark.parametrize("penalty", [1.0, 1.3])
@pytest.mark.parametrize(
    "asked",
    [
        [[5, 6, 7]],  # one prompt, one row
        [[5, 6, 7]] * 3,  # one group
        [[5, 6, 7], [8, 9]],  # nothing in common
        [[5, 6, 7], [5, 6]],  # one prompt begins another
        [[5, 6, 7], [5, 6, 8], [5, 6, 7], [4]],  # a group that is not contiguous
        [[5]],
    ],
    ids=str,
)
def test_shapes_of_batches(
    harness: Any, tmp_path: Path, asked: list[list[int]], penalty: float
) -> None:
    model, tokenizer = harness.tiny_model(tmp_path), harness.tokenizer()
    sampling = Sampling(20, temperature=0, repetition_penalty=penalty)
    arguments = (tokenizer, asked, sampling, NEVER)
    assert generate_shared(model, *arguments) == generate(model, *arguments)


def test_rows_stop_one_by_one(harness: Any, tmp_path: Path) -> None:
    """At a stop that is only seen in the decoded text, and at EOS, as `generate` does."""
    model, tokenizer = harness.tiny_model(tmp_path), harness.tokenizer()
    batch = prompts(harness, 2)
    free = generate(model, tokenizer, batch, Sampling(24, temperature=0), NEVER)
    middle = free.texts[0].split()
    stop = StopRule(strings=(f"{middle[5]} {middle[6]}", free.texts[-1].split()[3]))
    model.generation_config.eos_token_id = [1, free.ids[5][8]]
    arguments = (tokenizer, batch, Sampling(24, temperature=0), stop)
    ours, stock = generate_shared(model, *arguments), generate(model, *arguments)
    assert ours == stock
    assert any(ours.ended)
    assert len({len(ids) for ids in ours.ids}) > 1


def test_an_adapter_is_used(harness: Any, tmp_path: Path) -> None:
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    model = get_peft_model(harness.tiny_model(tmp_path), config)
    arguments = (harness.tokenizer(), prompts(harness, 2), Sampling(16, temperature=0), NEVER)
    ours = generate_shared(model, *arguments)
    assert ours == generate(model, *arguments)
    with model.disable_adapter():
        assert generate_shared(model, *arguments) != ours


def test_mixed_precision(harness: Any, tmp_path: Path) -> None:
    """Under autocast, queries may be float32 where values are bf16. Rounding moves a few draws."""
    arguments = (harness.tokenizer(), prompts(harness, 4), Sampling(4, temperature=0), NEVER)
    model = harness.tiny_model(tmp_path)
    with torch.autocast("cpu", torch.bfloat16):
        pairs = zip(
            generate_shared(model, *arguments).ids, generate(model, *arguments).ids, strict=True
        )
    assert sum(a == b for a, b in pairs) >= 9


@pytest.mark.parametrize("family", FAMILIES)
def test_every_prompt_token_goes_through_the_model_once(
    harness: Any, tmp_path: Path, family: str
) -> None:
    model = harness.tiny_model(tmp_path, family)
    from rlvr.prefix.attention import install

    install(model)
    seen: list[int] = []
    embeddings = model.get_input_embeddings()
    embeddings.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].numel()))
    distinct = list(dict.fromkeys(map(tuple, prompts(harness, 8))))
    with torch.no_grad():
        logits, cache = prefill(model, distinct)
        plain = torch.cat([model(torch.tensor([p])).logits[:, -1] for p in distinct])
    torch.testing.assert_close(logits, plain, rtol=0, atol=1e-5)
    prefix = cache.prefix[0][0].shape[2]
    assert seen[0] == prefix + sum(len(p) - prefix for p in distinct)
    assert prefix >= 7 * 8


SETTINGS = [
    Sampling(2),
    Sampling(2, temperature=0.7, top_p=0.8),
    Sampling(2, temperature=1.5, top_k=5),
    Sampling(2, min_p=0.1, repetition_penalty=1.5),
]


@pytest.mark.parametrize("sampling", SETTINGS, ids=str)
def test_processors_are_those_of_generate(harness: Any, tmp_path: Path, sampling: Sampling) -> None:
    model, tokenizer = harness.tiny_model(tmp_path), harness.tokenizer()
    config = generation_config(tokenizer, sampling, eos_token_ids(model, tokenizer))
    theirs = model._get_logits_processor(config, input_ids_seq_length=4, device="cpu")
    history, logits = torch.randint(2, 90, (3, 4)), torch.randn(3, 96)
    ours = processors(sampling)(history, logits.clone())
    torch.testing.assert_close(ours, theirs(history, logits.clone()))


@pytest.mark.parametrize("sampling", SETTINGS, ids=str)
def test_samples_have_the_distribution_of_generate(
    harness: Any, tmp_path: Path, sampling: Sampling
) -> None:
    """Pairs of tokens from a vocabulary of eight, the second drawn while rows leave the batch."""
    model = harness.tiny_model(tmp_path, vocab_size=8, initializer_range=0.5)
    tokenizer = harness.tokenizer()
    batch = [[5, 6, 7, 2]] * 1000 + [[5, 6, 3]] * 1000

    def counts(sample: Any, seed: int) -> Counter[tuple[int, ...]]:
        torch.manual_seed(seed)
        drawn = sample(model, tokenizer, batch, sampling, NEVER)
        return Counter((i // 1000, *ids) for i, ids in enumerate(drawn.ids))

    ours, stock = counts(generate_shared, 1), counts(generate, 2)
    common = [key for key in ours | stock if ours[key] + stock[key] >= 10]
    table = [[drawn[key] for key in common] for drawn in (ours, stock)]
    assert len(common) > 3
    assert chi2_contingency(table).pvalue > 1e-3


def test_the_sampler_of_a_model(
    harness: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = harness.tiny_model(tmp_path)
    assert sampler(model, prefix_cache=True) is generate_shared
    assert sampler(model, prefix_cache=False) is generate
    windowed = harness.tiny_model(tmp_path, "mistral", sliding_window=8)
    assert sampler(windowed, prefix_cache=True) is generate
    assert "sliding" in caplog.text
