"""Shared generation against transformers' own `generate`."""

from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from scipy.stats import chi2_contingency

from rlvr.sampling.engine import Completions, Sampling
from rlvr.sampling.plain import PlainEngine, pad_left
from rlvr.sampling.prefill import prefill
from rlvr.sampling.shared import SharedEngine, choose_engine
from rlvr.sampling.stop import StopRule

pytestmark = pytest.mark.filterwarnings("ignore")

NEVER = StopRule()
FAMILIES = ["qwen2", "llama", "olmo2"]


def generate(model: Any, tokenizer: Any, asked: Any, sampling: Sampling, stop: Any) -> Completions:
    return PlainEngine(tokenizer).sample(model, asked, sampling, stop, range(len(asked)))


def generate_shared(
    model: Any, tokenizer: Any, asked: Any, sampling: Sampling, stop: Any
) -> Completions:
    return SharedEngine(tokenizer).sample(model, asked, sampling, stop, range(len(asked)))


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
        prefilled = prefill(model, distinct)
        plain = torch.cat([model(torch.tensor([p])).logits[:, -1] for p in distinct])
    torch.testing.assert_close(prefilled.logits, plain, rtol=0, atol=1e-5)
    prefix = prefilled.shared
    assert seen[0] == prefix + sum(len(p) - prefix for p in distinct)
    assert prefix >= 7 * 8


SETTINGS = [
    Sampling(2),
    Sampling(2, temperature=0.7, top_p=0.8),
    Sampling(2, temperature=1.5, top_k=5),
    Sampling(2, min_p=0.1, repetition_penalty=1.5),
]


@pytest.mark.parametrize("sampling", SETTINGS, ids=str)
def test_sampled_rows_are_the_plain_engines(
    harness: Any, tmp_path: Path, sampling: Sampling
) -> None:
    """The same random numbers, the same tokens: both engines draw from one distribution."""
    model, tokenizer = harness.tiny_model(tmp_path), harness.tokenizer()
    longer = replace(sampling, max_new_tokens=12)
    arguments = (tokenizer, prompts(harness, 2), longer, NEVER)
    assert generate_shared(model, *arguments) == generate(model, *arguments)


@pytest.mark.parametrize("sampling", SETTINGS, ids=str)
def test_samples_have_the_distribution_of_generate(
    harness: Any, tmp_path: Path, sampling: Sampling
) -> None:
    """Pairs of tokens from a vocabulary of eight, against transformers' own draws."""
    model = harness.tiny_model(tmp_path, vocab_size=8, initializer_range=0.5)
    tokenizer = harness.tokenizer()
    batch = [[5, 6, 7, 2]] * 1000 + [[5, 6, 3, 2]] * 1000
    drawn = SharedEngine(tokenizer).sample(model, batch, sampling, NEVER, range(2000)).ids
    torch.manual_seed(2)
    ids, mask = pad_left(batch, 0)
    options = {k: v for k, v in asdict(sampling).items() if k != "min_p" or v}
    stock = model.generate(
        ids, attention_mask=mask, do_sample=True, eos_token_id=tokenizer.eos_token_id, **options
    )[:, 4:].tolist()
    ended = [row[:1] if row[0] == tokenizer.eos_token_id else row for row in stock]
    counts = [Counter((i // 1000, *row) for i, row in enumerate(rows)) for rows in (drawn, ended)]
    common = [key for key in counts[0] | counts[1] if counts[0][key] + counts[1][key] >= 10]
    assert len(common) > 3
    table = [[count[key] for key in common] for count in counts]
    assert chi2_contingency(table).pvalue > 1e-3


def test_the_engine_of_a_model(
    harness: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, tokenizer = harness.tiny_model(tmp_path), harness.tokenizer()
    assert choose_engine(model, tokenizer, prefix_cache=True).name == "shared"
    assert choose_engine(model, tokenizer, prefix_cache=False).name == "plain"
    windowed = harness.tiny_model(tmp_path, "mistral", sliding_window=8)
    assert choose_engine(windowed, tokenizer, prefix_cache=True).name == "plain"
    assert "sliding" in caplog.text
