"""Models whose layers are not what their configuration says are refused by what they do."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from rlvr.errors import UserError
from rlvr.prefix import attention
from rlvr.prefix.probe import drawing, unshareable
from rlvr.prefix.support import base_model

pytestmark = pytest.mark.filterwarnings("ignore")

LATENT = {
    "num_key_value_heads": 4,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 12,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
}
REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "nemotron": ("called 0 times by 2 layers", {}),
    "doge": ("attention mask of the model's own", {}),
    "mistral": ("given `sliding_window`", {"sliding_window": 8}),
}


@pytest.mark.parametrize("family", REFUSED)
def test_refused_with_the_reason(harness: Any, tmp_path: Path, family: str) -> None:
    reason, settings = REFUSED[family]
    (found,) = unshareable(harness.tiny_model(tmp_path, family, **settings))
    assert reason in found


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("family", "settings"), [("qwen2", {}), ("olmo2", {}), ("deepseek_v3", LATENT)]
)
def test_right_models_pass_in_any_precision(
    harness: Any, tmp_path: Path, family: str, settings: dict[str, Any], dtype: torch.dtype
) -> None:
    model = harness.tiny_model(tmp_path, family, **settings).to(dtype)
    assert unshareable(model) == []


def test_an_adapter_does_not_hide_the_model(harness: Any, tmp_path: Path) -> None:
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    assert unshareable(get_peft_model(harness.tiny_model(tmp_path), config)) == []
    assert unshareable(get_peft_model(harness.tiny_model(tmp_path, "doge"), config))


def test_tokens_that_mix_by_other_means(harness: Any, tmp_path: Path) -> None:
    """A layer that adds what stands before it, which in a pack may be another row's token."""
    model = harness.tiny_model(tmp_path)

    def shift(_: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        return output + 0.1 * output.roll(1, dims=1)

    model.model.layers[0].mlp.register_forward_hook(shift)
    (found,) = unshareable(model)
    assert "values that differ from the plain path" in found


def test_positions_that_are_more_than_distances(harness: Any, tmp_path: Path) -> None:
    """Hunyuan scales queries and keys after their rotation: stock's padding changes its values."""
    model = harness.tiny_model(tmp_path, "hunyuan_v1_dense", head_dim=8)
    for layer in model.model.layers:
        layer.self_attn.query_layernorm.weight.data[:4] = 2.0
    (found,) = unshareable(model)
    assert "positions that are not relative alone" in found


def test_a_model_that_fails_on_a_packed_row(harness: Any, tmp_path: Path) -> None:
    model = harness.tiny_model(tmp_path)

    def picky(_: Any, inputs: Any) -> None:
        if inputs[0].shape[1] > 10:
            raise RuntimeError("too long")

    model.model.layers[0].mlp.register_forward_pre_hook(picky)
    (found,) = unshareable(model)
    assert "fails on a packed row (RuntimeError: too long)" in found


def test_a_model_without_weights_is_asked_for_its_calls(harness: Any, tmp_path: Path) -> None:
    """Whose answers a run's are is known by the engine, before any weights are loaded."""
    for family, refused in (("qwen2", False), ("doge", True), ("nemotron", True)):
        model = harness.tiny_model(tmp_path, family).to("meta")
        assert bool(unshareable(model)) is refused


def test_training_mode_is_left_as_it_was(harness: Any, tmp_path: Path) -> None:
    model = harness.tiny_model(tmp_path).train()
    unshareable(model)
    assert model.training
    assert not unshareable(model.eval())
    assert not model.training


def test_a_mask_that_comes_later_is_refused_where_it_comes(harness: Any, tmp_path: Path) -> None:
    """A model may add its own only to long rows, which the probe did not see."""
    model = harness.tiny_model(tmp_path)
    attention.install(base_model(model))
    for more in ({"attention_mask": torch.zeros(1, 1, 3, 3)}, {"softcap": 30.0}, {"s_aux": 1.0}):
        inputs = {"attention_mask": attention.NO_MASK, **more}
        with pytest.raises(UserError, match=r"not exact with an attention.*shared_prefix=off"):
            model(torch.tensor([[5, 6, 7]]), shared_prefix=lambda *_: None, **inputs)


def test_a_model_that_draws_in_training_is_refused(harness: Any, tmp_path: Path) -> None:
    """As the routers of PhiMoE do, whose gradient was wrong when it was shared."""
    model = harness.tiny_model(tmp_path, "qwen2").eval()
    torch.manual_seed(1)
    state = torch.get_rng_state()
    assert drawing(model) == []
    mlp = model.model.layers[0].mlp
    mlp.register_forward_hook(lambda m, _, y: y * torch.rand(()) if m.training else y)
    assert drawing(model) == ["random numbers that the model draws in training"]
    assert torch.equal(torch.get_rng_state(), state)
    assert not model.training
