"""Loading: where a model comes from, what it is loaded as, what the user reads on failure."""

import pytest
import torch

from rlvr.errors import UserError
from rlvr.paths import ASSETS
from rlvr.training.model import (
    _place_now,
    attention,
    dtype,
    load_model,
    load_tokenizer,
    lora_config,
    mixed_precision,
    resolve_path,
)


def test_paths(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine").mkdir()
    assert resolve_path("package:tiny") == str(ASSETS / "tiny")
    assert resolve_path("~/mine") == str(tmp_path / "mine")
    assert resolve_path("Qwen/Qwen2.5-0.5B") == "Qwen/Qwen2.5-0.5B"


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what `auto` means without a GPU")
def test_auto_on_a_cpu_is_float32_and_sdpa(compose_config):
    cfg = compose_config()
    assert dtype(cfg) is torch.float32
    assert attention(cfg) == "sdpa"
    with pytest.raises(UserError, match="cannot run here"):
        attention(compose_config("model.attn_implementation=flash_attention_2"))


def test_qlora_loads_four_bits_and_adapts_every_linear_layer(compose_config, saved_model):
    from peft import get_peft_model

    cfg = compose_config("peft=qlora", f"model.path={saved_model}", "model.dtype=bfloat16")
    model = load_model(cfg)
    assert model.is_loaded_in_4bit
    adapted = get_peft_model(model, lora_config(cfg))
    trained = {n.split(".lora_")[0] for n, p in adapted.named_parameters() if p.requires_grad}
    assert {name.rsplit(".", 1)[1] for name in trained} == {
        *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    }
    assert adapted.peft_config["default"].r == adapted.peft_config["default"].lora_alpha == 16


def test_with_zero3_transformers_is_not_told_where_to_put_four_bits(compose_config, monkeypatch):
    """It refuses to be told then; two processes on CPU train as with ddp."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert _place_now(compose_config("peft=qlora"))
    assert not _place_now(compose_config("peft=qlora", "trainer.distributed=zero3"))


@pytest.mark.filterwarnings("error:.*an autograd kernel was not registered")
def test_qlora_gradients_are_those_of_the_dequantised_model(compose_config, saved_model):
    """After a forward in eval mode, as every rollout makes one."""
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn import Linear4bit
    from peft import get_peft_model

    cfg = compose_config("peft=qlora", f"model.path={saved_model}", "model.dtype=bfloat16")
    models = [load_model(cfg), load_model(cfg)]
    for name, module in models[1].named_modules():
        if isinstance(module, Linear4bit):
            plain = torch.nn.Linear(
                module.in_features, module.out_features, module.bias is not None
            )
            plain.weight.data = dequantize_4bit(module.weight.data, module.weight.quant_state)
            plain.bias = module.bias
            models[1].set_submodule(name, plain)
    gradients = []
    for model in models:
        torch.manual_seed(0)
        adapted = get_peft_model(model, lora_config(cfg))
        ids = torch.arange(10, 34)[None]
        with torch.no_grad():
            adapted.eval()(ids)
        adapted.train()(ids, labels=ids).loss.backward()
        gradients.append([p.grad.flatten() for p in adapted.parameters() if p.requires_grad])
    found, expected = (torch.cat(parts).float() for parts in gradients)
    assert expected.norm() > 0
    assert (found - expected).norm() < 0.02 * expected.norm()


def test_four_bits_are_the_same_bits_again(compose_config, saved_model):
    """Loaded twice, with a rollout's forward pass in between: values and gradient."""
    cfg = compose_config("peft=qlora", f"model.path={saved_model}")
    found = []
    for _ in range(2):
        model = load_model(cfg)
        ids = torch.arange(10, 34)[None]
        with torch.no_grad():
            model.eval()(ids)
        inputs = model.get_input_embeddings()(ids).detach().requires_grad_()
        logits = model.train()(inputs_embeds=inputs).logits
        logits.square().mean().backward()
        found.append((logits.detach(), inputs.grad))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize(
    ("overrides", "loaded", "mixed"),
    [
        (["peft=none", "model.dtype=bfloat16"], torch.float32, True),
        (["peft=lora", "model.dtype=bfloat16"], torch.bfloat16, True),
        (["peft=none", "model.dtype=float32"], torch.float32, False),
        (["peft=none", "model.dtype=bfloat16", "trainer.bf16=false"], torch.float32, False),
    ],
)
def test_weights_that_are_trained_are_float32(compose_config, overrides, loaded, mixed):
    cfg = compose_config(*overrides)
    assert (dtype(cfg), mixed_precision(cfg)) == (loaded, mixed)


def test_full_fine_tuning_has_no_adapter(compose_config):
    assert lora_config(compose_config("peft=none")) is None


@pytest.mark.parametrize("load", [load_model, load_tokenizer])
def test_an_unreachable_hub_names_the_local_way_out(compose_config, load, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"model\.path=DIR") as error:
        load(compose_config("model.path=nobody/nothing", "peft=none"))
    assert "nobody/nothing" in str(error.value)
    assert "model=tiny" in str(error.value)
