"""What the engine must be given of a model in training, and whether it has it already.

Weights are known by their content: an engine never samples with old ones, whoever changed them.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from rlvr.prefix.support import base_model

MEMORY = Path("/dev/shm")  # a file system in memory, where there is one


def is_adapted(model: Any) -> bool:
    """Whether an adapter computes: peft can switch it off."""
    layers = (layer for layer in model.modules() if isinstance(layer, BaseTunerLayer))
    return isinstance(model, PeftModel) and not next(layers).disable_adapters


def content(model: nn.Module) -> tuple[int, ...]:
    """A checksum of every tensor that sets this model apart from the one it was loaded as."""
    if isinstance(model, PeftModel) and not is_adapted(model):
        return ()
    return tuple(torch.stack([_checksum(w.data) for w in _learned(model)]).tolist())


def _learned(model: nn.Module) -> list[Tensor]:
    """By name: an adapter that was loaded to be asked is frozen."""
    adapter = isinstance(model, PeftModel)
    return [w for name, w in model.named_parameters() if "lora_" in name or not adapter]


def _checksum(x: Tensor) -> Tensor:
    """Of the bits, and of where they are: a weight that is moved changes it too."""
    kind = torch.int32 if x.element_size() == 4 else torch.int16
    bits = x.contiguous().view(kind).flatten()
    place = torch.arange(1, len(bits) + 1, device=x.device, dtype=torch.int32)
    return (bits * place).sum(dtype=torch.int64)


@contextmanager
def folder(size: int) -> Iterator[Path]:
    """A temporary one for about `size` bytes, in memory if they fit twice."""
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 2 * size
    with tempfile.TemporaryDirectory(prefix="rlvr-", dir=MEMORY if roomy else None) as path:
        yield Path(path)


def size(model: nn.Module) -> int:
    """Bytes of what is saved of a model."""
    return sum(w.numel() * w.element_size() for w in _learned(model))


def save_adapter(model: PeftModel, path: Path) -> None:
    """As vLLM reads it: the low-rank weights and their settings, nothing of the base."""
    weights = get_peft_model_state_dict(model, save_embedding_layers=False)
    kept = {name: w.detach().contiguous().cpu() for name, w in weights.items()}
    save_file(kept, path / "adapter_model.safetensors")
    model.peft_config[model.active_adapter].save_pretrained(str(path))


def save_weights(model: Any, path: Path) -> None:
    """All weights under the names of the hub's files."""
    model.save_pretrained(str(path))


def save_dequantised(model: Any, tokenizer: PreTrainedTokenizerBase, path: Path) -> None:
    """The base of QLoRA as the trainer computes with it, so that the engine's is the same model."""
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn import Params4bit

    core = base_model(model)
    weights: dict[str, Tensor] = {}
    for name, w in core.named_parameters():
        if "lora_" in name:
            continue
        whole = dequantize_4bit(w.data, w.quant_state) if isinstance(w, Params4bit) else w.data
        weights[name.replace(".base_layer.", ".")] = whole.detach().contiguous().cpu()
    save_file(weights, path / "model.safetensors")
    config = type(core.config).from_dict(core.config.to_dict())
    config.__dict__.pop("quantization_config", None)
    config.save_pretrained(str(path))
    tokenizer.save_pretrained(str(path))
