"""What a run will take, as far as files say it without loading a model: steps, rollouts, memory."""

import json
import math
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from rlvr.config.schema import PeftMethod
from rlvr.model_files import model_files

if TYPE_CHECKING:
    from rlvr.data.load import Splits

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
QUANTISED_BYTES = 0.516  # a 4-bit weight with its double-quantised scale
ADAPTER_BYTES = 16  # a float32 weight, its gradient and Adam's two averages
FULL_STATES = 4  # a weight, its gradient and Adam's two averages


def prompt_tokens(cfg: DictConfig, splits: "Splits") -> list[int] | None:
    """Lengths of 64 prompts, or None where the tokenizer is not on this machine."""
    folder = model_files(cfg.model.path)
    if folder is None or not (folder / "tokenizer.json").exists():
        return None
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    prompts = splits.train.take(min(64, len(splits.train)))["prompt"]
    return [len(encoded.ids) for encoded in tokenizer.encode_batch(list(prompts))]


@cache
def shapes(folder: Path | None) -> dict[str, list[int]]:
    """Names and shapes of all weights, from the headers of the safetensors files, if any."""
    found: dict[str, list[int]] = {}
    for file in sorted(folder.glob("*.safetensors")) if folder else ():
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        found |= {name: tensor["shape"] for name, tensor in header.items()}
    return found


def memory(cfg: DictConfig, weights: dict[str, list[int]], bytes_each: int) -> float:
    """Bytes of weights, gradients and Adam's averages: the least that training takes."""
    parameters = sum(map(math.prod, weights.values()))
    if cfg.peft.method is PeftMethod.none:
        return parameters * bytes_each * FULL_STATES
    linear = [*_linear(weights)]
    adapter = sum(cfg.peft.r * sum(shape) for shape in linear) * ADAPTER_BYTES
    quantised = sum(map(math.prod, linear)) if cfg.peft.method is PeftMethod.qlora else 0
    return (parameters - quantised) * bytes_each + quantised * QUANTISED_BYTES + adapter


def _linear(weights: dict[str, list[int]]) -> Iterator[list[int]]:
    """What peft's `all-linear` adapts: matrices but for embeddings and the output layer."""
    for name, shape in weights.items():
        if len(shape) == 2 and not any(word in name for word in ("embed", "lm_head", "wte", "wpe")):
            yield shape
