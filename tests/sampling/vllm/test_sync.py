"""What is handed over, without vLLM: the files hold the model that the trainer computes with."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from rlvr.sampling.vllm import sync
from rlvr.training.model import load_model, load_tokenizer


@pytest.fixture
def adapted(random_model):
    return get_peft_model(random_model, LoraConfig(r=4, target_modules="all-linear"))


def test_qloras_base_is_saved_as_the_trainer_computes_with_it(compose_config, tmp_path):
    cfg = compose_config("model=tiny", "dataset=word_problems", "peft=qlora")
    model = get_peft_model(load_model(cfg), LoraConfig(r=4, target_modules="all-linear")).eval()
    tokenizer = load_tokenizer(cfg)
    sync.save_dequantised(model, tokenizer, tmp_path)
    dense = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    ids = torch.tensor([tokenizer("Question: Ann has 3 apples.")["input_ids"]])
    with torch.no_grad():
        difference = model(ids).logits - dense(ids).logits
    assert difference.abs().max() < 1e-4
    assert not any("quant" in name for name in dense.state_dict())


def test_content_changes_with_any_weight_and_with_nothing_else(adapted):
    before = sync.content(adapted)
    adapted.requires_grad_(False)
    assert sync.content(adapted) == before, "a saved adapter is frozen"
    weight = next(w for name, w in adapted.named_parameters() if "lora_A" in name)
    weight.data[[0, 1]] = weight.data[[1, 0]]
    assert sync.content(adapted) != before, "rows that were exchanged"
    with adapted.disable_adapter():
        assert sync.content(adapted) == ()
    weight.data[[0, 1]] = weight.data[[1, 0]]
    assert sync.content(adapted) == before


def test_all_weights_count_without_an_adapter(random_model):
    before = sync.content(random_model)
    assert len(before) == len(list(random_model.parameters()))
    random_model.model.norm.weight.data[0] += 1e-6
    assert sync.content(random_model) != before
