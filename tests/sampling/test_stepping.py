"""Steps that are read late give the very completions of steps that are read at once."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from rlvr.errors import UserError
from rlvr.sampling.engine import Completions, Sampling
from rlvr.sampling.expanded import Expanded
from rlvr.sampling.shared import SharedEngine
from rlvr.sampling.stop import StopRule

pytestmark = pytest.mark.filterwarnings("ignore")

GREEDY, SAMPLED = Sampling(24, temperature=0), Sampling(24)
NEVER = StopRule()


def both(
    model: Any, tokenizer: Any, asked: Any, sampling: Sampling, stop: StopRule = NEVER
) -> tuple[Completions, Completions]:
    """Over expanded keys, and with the cascade."""
    engines = (SharedEngine(tokenizer, self_check=False, expand=expand) for expand in (True, False))
    ours, cascade = (e.sample(model, asked, sampling, stop, range(len(asked))) for e in engines)
    return ours, cascade


def prompts(harness: Any, shots: int) -> list[list[int]]:
    return [prompt for prompt, _ in harness.few_shot(shots)]


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize("shots", [0, 2, 8])
@pytest.mark.parametrize("family", ["qwen2", "llama", "olmo2"])
def test_ids_are_those_of_the_cascade(
    harness: Any, tmp_path: Path, family: str, shots: int, sampling: Sampling
) -> None:
    model = harness.tiny_model(tmp_path, family)
    ours, cascade = both(model, harness.tokenizer(), prompts(harness, shots), sampling)
    assert ours == cascade


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(12, temperature=0, repetition_penalty=1.3),
        Sampling(12, temperature=1.5, top_k=5, repetition_penalty=1.5),
        Sampling(12, temperature=0.7, top_p=0.8),
        Sampling(12, min_p=0.1),
        Sampling(1),
        Sampling(2),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "asked",
    [[[5]], [[5, 6, 7]] * 3, [[5, 6, 7], [8, 9]], [[5, 6, 7], [5, 6]], [[5, 6], [4], [5, 6]]],
    ids=str,
)
def test_every_setting_and_shape(
    harness: Any, tmp_path: Path, asked: list[list[int]], sampling: Sampling
) -> None:
    ours, cascade = both(harness.tiny_model(tmp_path), harness.tokenizer(), asked, sampling)
    assert ours == cascade


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_rows_end_one_by_one(harness: Any, tmp_path: Path, sampling: Sampling) -> None:
    """In the middle, by a stop that is only seen in the text and by EOS, until one row is left."""
    model, tokenizer = harness.tiny_model(tmp_path), harness.tokenizer()
    asked = prompts(harness, 2)
    free, _ = both(model, tokenizer, asked, sampling)
    stop = StopRule(tuple(_middle(free.texts[row].split()) for row in (0, 4)))
    eos = [free.ids[row][len(free.ids[row]) // 2] for row in (1, 2, 6, 9)]
    model.generation_config.eos_token_id = [1, *eos]
    ours, cascade = both(model, tokenizer, asked, sampling, stop)
    assert ours == cascade
    assert len({len(ids) for ids in ours.ids}) > 1
    assert ours.ended.count(True) >= len(asked) // 2, "the batch was not halved"


def _middle(words: list[str]) -> str:
    half = len(words) // 2
    return " ".join(words[half : half + 2])


def test_all_rows_end_before_the_last_token(harness: Any, tmp_path: Path) -> None:
    model, tokenizer = harness.tiny_model(tmp_path), harness.tokenizer()
    model.generation_config.eos_token_id = list(range(2, harness.VOCABULARY, 2))
    told: list[tuple[int, str]] = []
    asked, seeds = prompts(harness, 2), range(12)
    engine = SharedEngine(tokenizer, self_check=False, expand=True)
    ours = engine.sample(model, asked, SAMPLED, NEVER, seeds, lambda *row: told.append(row))
    assert all(ours.ended)
    assert sorted(told) == list(enumerate(ours.texts))
    assert ours == both(model, tokenizer, asked, SAMPLED)[1]


def test_the_first_batch_is_compared_with_the_plain_path(
    harness: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer, asked = (
        harness.tiny_model(tmp_path),
        harness.tokenizer(),
        prompts(harness, 2),
    )
    engine = SharedEngine(tokenizer, expand=True)
    engine.sample(model, asked, GREEDY, NEVER, range(12))
    attend = Expanded.__call__
    monkeypatch.setattr(Expanded, "__call__", lambda *given: 1.1 * attend(*given))
    engine.sample(model, asked, GREEDY, NEVER, range(12))  # not the first one
    with pytest.raises(UserError, match=r"trainer\.prefix_cache=false"):
        SharedEngine(tokenizer, expand=True).sample(model, asked, GREEDY, NEVER, range(12))


def test_an_adapter_and_mixed_precision(harness: Any, tmp_path: Path) -> None:
    """Under autocast queries may be float32 where values are bf16."""
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    model = get_peft_model(harness.tiny_model(tmp_path), config)
    ours, cascade = both(model, harness.tokenizer(), prompts(harness, 2), GREEDY)
    assert ours == cascade
    with torch.autocast("cpu", torch.bfloat16):
        short = both(model, harness.tokenizer(), prompts(harness, 2), Sampling(4, temperature=0))
    assert sum(a == b for a, b in zip(*(drawn.ids for drawn in short), strict=True)) >= 9
