"""A few tokens through the model, to see whether its attention is all that rows share.

What no list of architectures can know is seen here: layers that drop the arguments of the
attention, or change its mask, or mix tokens by other means.
"""

from collections import Counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlvr.prefix.agreement import compare, of_log_probs
from rlvr.prefix.attention import DenseMask, UnshareableError, install, no_mask
from rlvr.prefix.precision import in_float32
from rlvr.prefix.support import base_model
from rlvr.prefix.trie import Packed, TokenRow, pack

PADDING = 9
# Three rows: a prefix, a branch that two of them share, own ends.
BRANCHES = ([2, 3, 5, 7, 11, 13], [[17, 19, 23, 29, 31], [17, 19, 37, 41], [43, 47, 53]])


@torch.no_grad()
def unshareable(model: Any) -> list[str]:
    """Why this model cannot share prefixes; installs our attention, and leaves all else as it was.

    A model whose weights are spread over processes (ZeRO-3) is not asked: it cannot be run here.
    One without weights (on the device `meta`) has calls but no values.
    """
    core = base_model(model)
    if _is_spread(core):
        install(core)
        return []
    training = core.training
    core.eval()
    try:
        install(core)
        with in_float32(core):
            return _problems(core)
    except UnshareableError as refusal:
        return [refusal.reason]
    # Of an unknown model any line may fail on a packed row: that is an answer, not a defect.
    except Exception as error:
        if core.device.type == "meta":  # it may fail for want of weights
            return []
        return [f"a model that fails on a packed row ({type(error).__name__}: {error})"]
    finally:
        core.train(training)


@torch.no_grad()
def drawing(model: Any) -> list[str]:
    """Whether training draws random numbers in the model: a shared position has one draw where
    separate rows would have several. Random states are left as they were."""
    core = base_model(model)
    if core.device.type == "meta" or _is_spread(core):
        return []
    training, row = core.training, torch.from_numpy(_rows(2)[0])[None].to(core.device)
    cuda = core.device.type == "cuda"
    with torch.random.fork_rng([core.device] if cuda else []):
        before = _random_states(cuda, core.device)
        core.train()
        try:
            core(row, use_cache=False)
        finally:
            core.train(training)
        same = all(map(torch.equal, before, _random_states(cuda, core.device)))
    return [] if same else ["random numbers that the model draws in training"]


def _is_spread(core: Any) -> bool:
    """Over processes, by ZeRO-3."""
    return any(hasattr(p, "ds_id") for p in core.parameters())


def _random_states(cuda: bool, device: torch.device) -> list[Tensor]:
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if cuda else [])]


def _problems(core: Any) -> list[str]:
    rows = _rows(core.get_input_embeddings().num_embeddings)
    packed = pack([TokenRow(i, r, np.zeros_like(r), np.arange(len(r))) for i, r in enumerate(rows)])
    calls: Counter[Any] = Counter()
    ours = _packed_logits(core, packed, calls)
    layers = core.config.get_text_config().num_hidden_layers
    if calls != Counter(range(layers)):
        return [f"an attention that is called {calls.total()} times by {layers} layers"]

    if ours.is_meta:
        return []
    (stock,), (other,) = compare(lambda: (_plain_log_probs(core, rows, 0),), core)
    found = of_log_probs(ours.log_softmax(-1), stock, other)
    if not found.is_rounding:
        return [f"values that differ from the plain path ({found})"]
    # Stock TRL counts a row's padding as positions, a pack has none.
    moved = of_log_probs(_plain_log_probs(core, rows, PADDING), stock, other)
    return [] if moved.is_rounding else [f"positions that are not relative alone ({moved})"]


def _plain_log_probs(core: Any, rows: list[Any], first: int) -> Tensor:
    """Of every token of every row, (tokens, V), when the first one is at position `first`."""
    ids = [torch.from_numpy(row)[None].to(core.device) for row in rows]
    at = [torch.arange(first, first + i.shape[1], device=core.device)[None] for i in ids]
    outputs = (core(i, position_ids=p, use_cache=False) for i, p in zip(ids, at, strict=True))
    return torch.cat([output.logits[0] for output in outputs]).log_softmax(-1)


def _rows(vocabulary: int) -> list[Any]:
    prefix, ends = BRANCHES
    return [np.array(prefix + end) % vocabulary for end in ends]


def _packed_logits(core: Any, packed: Packed, calls: Counter[Any]) -> Tensor:
    """Logits of every token of every row, (tokens, V)."""
    attention = DenseMask(packed, core.device)

    def counted(module: Any, *arguments: Any) -> Tensor:
        calls[module.layer_idx] += 1
        return attention(module, *arguments)

    logits: Tensor = core(
        input_ids=torch.from_numpy(packed.input_ids)[None].to(core.device),
        position_ids=torch.from_numpy(packed.position_ids)[None].to(core.device),
        attention_mask=no_mask(core.device),
        use_cache=False,
        shared_prefix=counted,
    ).logits[0]
    return logits[torch.from_numpy(packed.sources).to(core.device)]
