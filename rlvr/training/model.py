"""Loading the base model and its tokenizer from the hub, a local directory or the package."""

from typing import Any

import torch
from omegaconf import DictConfig
from peft import LoraConfig
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import is_flash_attn_2_available

from rlvr.config.schema import Attention, Distributed, Dtype, PeftMethod
from rlvr.errors import UserError
from rlvr.model_files import local_folder


def resolve_path(path: str) -> str:
    """A folder where `model.path` names one, else the hub's name."""
    return str(local_folder(path) or path)


def dtype(cfg: DictConfig) -> torch.dtype:
    """Of the weights as they are loaded: float32 for those that are trained.

    A step of Adam moves a weight by about the learning rate, which bfloat16 rounds to nothing.
    """
    return torch.float32 if cfg.peft.method is PeftMethod.none else computed_in(cfg)


def computed_in(cfg: DictConfig) -> torch.dtype:
    """`auto` is bfloat16 where the GPU has it, else float32."""
    if cfg.model.dtype is not Dtype.auto:
        return getattr(torch, cfg.model.dtype.value)  # type: ignore[no-any-return]
    gpu = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if gpu else torch.float32


def mixed_precision(cfg: DictConfig) -> bool:
    """Whether float32 weights and adapters compute in bfloat16, under autocast."""
    if cfg.trainer.bf16 is not None:
        return bool(cfg.trainer.bf16)
    return computed_in(cfg) is torch.bfloat16


def attention(cfg: DictConfig) -> str:
    """The backend `auto` stands for here: flash attention where it can run, else sdpa."""
    wanted = cfg.model.attn_implementation
    half = computed_in(cfg) is torch.bfloat16
    flash = is_flash_attn_2_available() and half and torch.cuda.get_device_capability() >= (8, 0)
    if wanted is Attention.flash_attention_2 and not flash:
        raise UserError(
            "model.attn_implementation=flash_attention_2 cannot run here: it needs the flash-attn "
            "package, a GPU of compute capability 8.0 or more and model.dtype=bfloat16; "
            "use model.attn_implementation=auto"
        )
    if wanted is Attention.auto:
        return "flash_attention_2" if flash else "sdpa"
    return str(wanted.value)


def load_tokenizer(cfg: DictConfig) -> PreTrainedTokenizerBase:
    with ReadableHubErrors(cfg):
        tokenizer = AutoTokenizer.from_pretrained(
            resolve_path(cfg.model.path),
            revision=cfg.model.revision,
            trust_remote_code=cfg.model.trust_remote_code,
            padding_side="left",
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer  # type: ignore[no-any-return]


def fetch_config(cfg: DictConfig) -> None:
    """From the hub, so that a model's size is known before its weights are here."""
    with ReadableHubErrors(cfg):
        AutoConfig.from_pretrained(
            resolve_path(cfg.model.path),
            revision=cfg.model.revision,
            trust_remote_code=cfg.model.trust_remote_code,
        )


def load_model(cfg: DictConfig) -> PreTrainedModel:
    """The base model in the configured dtype, quantised to 4 bits for QLoRA."""
    with ReadableHubErrors(cfg):
        model = AutoModelForCausalLM.from_pretrained(
            resolve_path(cfg.model.path),
            revision=cfg.model.revision,
            trust_remote_code=cfg.model.trust_remote_code,
            dtype=dtype(cfg),
            attn_implementation=attention(cfg),
            quantization_config=_quantization(cfg),
            device_map={"": torch.cuda.current_device()} if _place_now(cfg) else None,
        )
    if cfg.peft.method is PeftMethod.qlora:
        keep_differentiable(model)
    return model  # type: ignore[no-any-return]


def without_weights(cfg: DictConfig) -> PreTrainedModel:
    """The base model's modules on no device, in no time: to ask what kind of model it is."""
    with ReadableHubErrors(cfg):
        config = AutoConfig.from_pretrained(
            resolve_path(cfg.model.path),
            revision=cfg.model.revision,
            trust_remote_code=cfg.model.trust_remote_code,
        )
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(
            config, trust_remote_code=cfg.model.trust_remote_code
        )
    return model  # type: ignore[no-any-return]


def keep_differentiable(model: PreTrainedModel) -> None:
    """Rollouts run in eval mode, in which bitsandbytes repacks weights for AVX512 processors.

    They stay repacked in training, for a kernel without a backward pass: gradients end there.
    """
    from bitsandbytes.nn import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


def _place_now(cfg: DictConfig) -> bool:
    """bitsandbytes quantises while it loads, so it must know the device; others are moved later.

    With ZeRO-3 transformers refuses to be told, and takes the process's own GPU by itself.
    """
    told = cfg.trainer.distributed is not Distributed.zero3
    return cfg.peft.method is PeftMethod.qlora and told and torch.cuda.is_available()


def _quantization(cfg: DictConfig) -> BitsAndBytesConfig | None:
    if cfg.peft.method is not PeftMethod.qlora:
        return None
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=cfg.peft.quant_type.value,
        bnb_4bit_use_double_quant=cfg.peft.double_quant,
        bnb_4bit_compute_dtype=dtype(cfg),
        bnb_4bit_quant_storage=dtype(cfg),
    )


def lora_config(cfg: DictConfig) -> LoraConfig | None:
    """The adapter of `peft=lora` and `peft=qlora`; None for full fine-tuning."""
    if cfg.peft.method is PeftMethod.none:
        return None
    targets = cfg.peft.target_modules
    return LoraConfig(
        r=cfg.peft.r,
        lora_alpha=cfg.peft.alpha,
        lora_dropout=cfg.peft.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        modules_to_save=cfg.peft.modules_to_save and list(cfg.peft.modules_to_save),
        task_type="CAUSAL_LM",
    )


class ReadableHubErrors:
    """Says which key helps when a model cannot be read; anything else passes through."""

    def __init__(self, cfg: DictConfig) -> None:
        self.model = cfg.model

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        # OSError covers what transformers and huggingface_hub raise for a missing repository, a
        # missing file and an unreachable hub alike.
        if isinstance(error, OSError):
            first = str(error).strip().splitlines()[0]
            raise UserError(
                f"model.path={self.model.path} could not be loaded: {first}\n"
                "  It must be a model on the Hugging Face hub that this machine can reach, or "
                "a local directory: model.path=DIR with config.json, tokenizer and weights.\n"
                "  Without network, model=tiny is embedded. A gated model needs HF_TOKEN."
            ) from error
