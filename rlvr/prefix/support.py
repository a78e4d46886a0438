"""What a packed trie cannot reproduce exactly, by name."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torch import nn
from transformers import PreTrainedModel

if TYPE_CHECKING:
    from trl import GRPOTrainer

# These stretch the rotary frequencies by the length of the padded batch, which packing changes.
LENGTH_DEPENDENT_ROPE = {"dynamic", "longrope"}


def base_model(model: Any) -> PreTrainedModel:
    """The transformers model inside an adapter; the model itself when there is none."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[no-any-return]


def unsupported(trainer: "GRPOTrainer") -> list[str]:
    """Reasons why this trainer's update must take the plain path; none when sharing is exact."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    return [*unsupported_model(model), *_dropout(model), *_training(trainer)]


def unsupported_model(model: Any) -> list[str]:
    """Reasons why sampling from this model must take the plain path."""
    return [*_architecture(base_model(model)), *_adapters(model)]


def _architecture(model: PreTrainedModel) -> Iterator[str]:
    config = model.config.get_text_config()
    layers = set(getattr(config, "layer_types", None) or ()) - {"full_attention"}
    if layers:
        yield f"layers of type {', '.join(sorted(layers))}"
    elif getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True):
        yield f"sliding-window attention (config.sliding_window={config.sliding_window})"
    if model._is_stateful:
        yield "recurrent layers"
    if not model._supports_attention_backend:
        yield "an attention that transformers cannot exchange"
    if getattr(config, "attn_logit_softcapping", None):
        yield "capped attention logits (config.attn_logit_softcapping)"
    rope = getattr(config, "rope_parameters", None) or {}
    if not rope:
        yield "positions that are not rotary"
    if rope.get("rope_type") in LENGTH_DEPENDENT_ROPE:
        yield f"rotary positions that depend on the batch's length ({rope['rope_type']})"
    if len(set(getattr(model, "hf_device_map", {}).values())) > 1:
        yield "a model split over several devices"


def _dropout(model: nn.Module) -> Iterator[str]:
    """A shared position has one dropout mask where separate rows would have several."""
    for name, module in model.named_modules():
        p = module.p if isinstance(module, nn.Dropout) else getattr(module, "attention_dropout", 0)
        if isinstance(p, float) and p > 0:
            yield f"dropout in {name} (p={p})"
            return


def _adapters(model: Any) -> Iterator[str]:
    for config in getattr(model, "peft_config", {}).values():
        kind = str(getattr(config.peft_type, "value", config.peft_type))
        if config.is_prompt_learning or config.is_adaption_prompt:
            yield f"a prompt-learning adapter ({kind})"
        if getattr(config, "alora_invocation_tokens", None):
            yield "an activated LoRA (alora_invocation_tokens)"


def _training(trainer: "GRPOTrainer") -> Iterator[str]:
    if trainer._is_vlm:
        yield "images"
    if trainer.aux_loss_enabled:
        yield "a router loss over all tokens (router_aux_loss_coef > 0)"
    if any(word in str(trainer.args.optim) for word in ("lomo", "layerwise")):
        yield f"an optimizer that steps within the backward pass (optim={trainer.args.optim})"
    if trainer.args.torch_compile:
        yield "a compiled model (torch_compile)"
    if trainer.is_deepspeed_enabled:
        yield "DeepSpeed"
    if trainer.is_fsdp_enabled:
        yield "FSDP"
