"""What cannot be shared exactly is refused by name, or computed the plain way with a warning."""

import logging
from pathlib import Path
from typing import Any

import pytest
from peft import LoraConfig, PromptTuningConfig

from rlvr.errors import UserError
from rlvr.training.shared_prefix.update import Sharing

pytestmark = pytest.mark.filterwarnings("ignore")

UNSUPPORTED: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "sliding window": ("mistral", {"sliding_window": 8}, {}),
    "layers of type sliding_attention": ("gemma3_text", {"sliding_window": 8}, {}),
    "not rotary": ("gpt2", {"n_embd": 32, "n_layer": 2, "n_head": 4}, {}),
    "dynamic": ("llama", {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}, {}),
    "dropout in model.layers.0.self_attn": ("llama", {"attention_dropout": 0.1}, {}),
    "dropout in base_model": (
        "llama",
        {},
        {"peft": LoraConfig(target_modules="all-linear", lora_dropout=0.1)},
    ),
    "PROMPT_TUNING": (
        "llama",
        {},
        {"peft": PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)},
    ),
}


@pytest.fixture(params=UNSUPPORTED)
def case(request: Any, harness: Any, tmp_path: Path) -> Any:
    family, model, settings = UNSUPPORTED[request.param]

    def build(sharing: Sharing) -> Any:
        tiny = harness.tiny_model(tmp_path, family, **model)
        return harness.build(tmp_path, harness.few_shot(1), sharing, model=tiny, **settings)

    return request.param.split(" of ")[0], build


@pytest.mark.parametrize("mode", ["dense", "tree"])
def test_asked_for_by_name(case: Any, mode: str) -> None:
    reason, build = case
    message = rf"trainer\.shared_prefix={mode}: .*not exact with .*{reason}.*auto or off"
    with pytest.raises(UserError, match=message.replace("sliding window", "sliding.window")):
        build(Sharing(mode))


def test_auto_falls_back_aloud(case: Any, caplog: pytest.LogCaptureFixture) -> None:
    reason, build = case
    with caplog.at_level(logging.WARNING):
        trainer = build(Sharing("auto"))
    assert not trainer.shares
    assert reason.split()[0] in caplog.text


@pytest.mark.parametrize("family", ["qwen2", "llama", "mistral", "gemma", "phi", "olmo2", "qwen3"])
def test_plain_attention_is_shared(harness: Any, tmp_path: Path, family: str) -> None:
    settings = {"sliding_window": None} if family == "mistral" else {}
    if family == "gemma":
        settings["head_dim"] = 8
    model = harness.tiny_model(tmp_path, family, **settings)
    trainer = harness.build(tmp_path, harness.few_shot(2), Sharing("auto"), model=model)
    assert trainer.shares
    trainer.train()  # and the self-check agrees
