"""Prompts through the model as one packed trie: every distinct token of them once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlvr.prefix.attention import AttentionFunction, choose, no_mask
from rlvr.prefix.trie import TokenRow, on_device, pack

Pair = tuple[Tensor, Tensor]  # keys and values of one layer, both (batch, h, length, d)


class Recorded:
    """An attention that also keeps the keys and values of each layer."""

    def __init__(self, attention: AttentionFunction) -> None:
        self.attention = attention
        self.layers: dict[int, Pair] = {}

    def __call__(
        self, module: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float
    ) -> Tensor:
        self.layers[module.layer_idx] = key, value
        return self.attention(module, query, key, value, scaling)


@dataclass(frozen=True)
class Prefilled:
    """What J distinct prompts leave in the model; prompt j is the positions `paths[j]`."""

    logits: Tensor  # (J, V) of the token that follows
    layers: dict[int, Pair]  # (1, h, N, d), in the order in which layers are called
    paths: list[Tensor]  # on the host
    shared: int  # tokens that all prompts begin with; of several prompts, each has one more


def prefill(model: PreTrainedModel, prompts: Sequence[Sequence[int]]) -> Prefilled:
    device = model.device
    packed = pack([_row(j, prompt) for j, prompt in enumerate(prompts)])
    paths = [torch.from_numpy(packed.sources[packed.rows == j]) for j in range(len(prompts))]
    kind = choose("auto" if device.type == "cpu" else "dense", device)
    attention = Recorded(kind(packed, device))
    ids, positions = (on_device(x, device)[None] for x in (packed.input_ids, packed.position_ids))
    logits = model(
        **inputs(ids, positions, no_mask(device)),
        shared_prefix=attention,
        logits_to_keep=torch.tensor([int(path[-1]) for path in paths], device=device),
    ).logits[0]
    return Prefilled(logits, attention.layers, paths, _common(prompts))


def inputs(ids: Tensor, positions: Tensor, no_mask: Tensor) -> dict[str, Any]:
    """Both (b, n). Keys and values are kept by the attention, not by transformers' cache."""
    return {
        "input_ids": ids,
        "position_ids": positions,
        "attention_mask": no_mask,
        "use_cache": False,
    }


def side_by_side(paths: Sequence[Tensor], like: Tensor) -> tuple[Tensor, Tensor]:
    """Ragged paths as positions (J, n), right-padded with 0, and an additive mask (J, 1, 1, n),
    -inf on the padding; on the device of `like`, the mask of its type."""
    width = max(map(len, paths))
    at = torch.zeros(len(paths), width, dtype=torch.long)
    padding = torch.full((len(paths), 1, 1, width), float("-inf"))
    for j, path in enumerate(paths):
        at[j, : len(path)] = path
        padding[j, ..., : len(path)] = 0
    return at.to(like.device), padding.to(like)


def _row(index: int, prompt: Sequence[int]) -> TokenRow:
    """A prompt of which every position is asked for, whatever follows it."""
    tokens = np.array(prompt)
    return TokenRow(index, tokens, np.zeros_like(tokens), np.arange(len(tokens)))


def _common(prompts: Sequence[Sequence[int]]) -> int:
    """Length of the common prefix; of several prompts, each keeps a token of its own."""
    if len(prompts) == 1:
        return len(prompts[0])
    shortest = min(map(len, prompts)) - 1
    columns = zip(*prompts, strict=False)
    differing = (i for i, column in enumerate(columns) if len(set(column)) > 1)
    return min(next(differing, shortest), shortest)
