"""Peak memory of a training run, from the shape of its model, its settings and its prompts.

Counted is what is held at the two peaks of a step: in the backward pass of the output layer, when
the activations of all layers are, and at the end of sampling, when the keys and values of all rows
are. benchmarks/README.md, "Memory", compares it with measured peaks.
"""

import json
import math
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from omegaconf import DictConfig

from rlvr.config.generation import is_elsewhere, may_take_vllm, memory_share
from rlvr.config.schema import Distributed, Dtype, PeftMethod, SharedPrefix
from rlvr.machine import GIB, Machine
from rlvr.sampling.vllm.settings import CPU_CACHE, CPU_GIB

FLOAT = 4
HALF = 2
QUANTISED = 0.516  # bytes of a 4-bit weight with its double-quantised scale
GRADIENT_AND_ADAM = 12  # a gradient and two averages, float32
# TRL's head works on tiles of so many positions and tokens of the vocabulary.
TILE_ROWS, TILE_COLUMNS = 4096, 32768
# Tiles that it holds at once: without Triton each term of the gradient is one, and a mask of bytes.
TILES_IN_TORCH = 8.25
# Ours, of a frozen output layer on a CPU: logits, their exponentials, and two terms of a sum.
OWN_COLUMNS, OWN_TILES = 8192, 4  # rlvr/training/shared_prefix/head.py


@dataclass(frozen=True)
class Shape:
    """Numbers of weights, and widths of a layer. `linear` are the matrices that adapters adapt."""

    parameters: int
    linear: tuple[tuple[int, int], ...]
    hidden: int
    layers: int
    queries: int
    keys: int
    intermediate: int
    vocabulary: int


@dataclass(frozen=True)
class Tokens:
    """Tokens that all prompts begin with, and most in the rest of a prompt on average."""

    prefix: int
    question: int
    completion: int


@dataclass(frozen=True)
class Memory:
    """Bytes in each process."""

    weights: float
    training: float  # gradients and averages of what is trained
    update: float  # activations and the output layer's tiles
    rollout: float  # keys, values and logits
    engine: float = 0.0  # vLLM's own weights, keys and values, which it keeps while others compute

    @property
    def peak(self) -> float:
        return self.weights + self.training + max(self.update, self.rollout) + self.engine


def read_shape(folder: Path) -> Shape | None:
    """From config.json and the headers of the weights, where they are; None where it is unusual."""
    file = folder / "config.json"
    if not file.is_file():
        return None
    config = json.loads(file.read_text(encoding="utf-8"))
    config = config.get("text_config") or config
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    if not all(isinstance(config.get(name), int) for name in (*names, "vocab_size")):
        return None
    hidden, layers, heads, intermediate = (config[name] for name in names)
    head = config.get("head_dim") or hidden // heads
    queries, keys = heads * head, (config.get("num_key_value_heads") or heads) * head
    found = shapes(folder)
    linear = tuple(_linear(found)) or layers * (
        *((hidden, queries), (hidden, keys), (hidden, keys), (queries, hidden)),
        *((hidden, intermediate), (hidden, intermediate), (intermediate, hidden)),
    )
    ends = hidden * config["vocab_size"] * (1 if config.get("tie_word_embeddings") else 2)
    parameters = sum(map(math.prod, found.values())) or sum(map(math.prod, linear)) + ends
    return Shape(
        parameters, linear, hidden, layers, queries, keys, intermediate, config["vocab_size"]
    )


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


def _linear(weights: dict[str, list[int]]) -> Iterator[tuple[int, int]]:
    """What peft's `all-linear` adapts: matrices but for embeddings and the output layer."""
    for name, shape in weights.items():
        if len(shape) == 2 and not any(word in name for word in ("embed", "lm_head", "wte", "wpe")):
            yield shape[0], shape[1]


def estimate(
    cfg: DictConfig, shape: Shape, tokens: Tokens, micro: int, processes: int, machine: Machine
) -> Memory:
    """With `micro` completions at a time in each process; on a CPU without bfloat16 by default."""
    gpu = machine.gpus > 0
    half = cfg.model.dtype is Dtype.bfloat16 or (cfg.model.dtype is Dtype.auto and gpu)
    compute = HALF if half else FLOAT
    weights, trained = _weights(cfg, shape, compute)
    training = trained * GRADIENT_AND_ADAM
    if cfg.trainer.distributed is Distributed.zero3:
        weights, training = weights / processes, training / processes
    return Memory(
        weights,
        training,
        _update(cfg, shape, tokens, micro, compute, gpu),
        # of `auto` it is not known yet which of the two will sample
        0.0 if cfg.trainer.generation.is_vllm else _rollout(cfg, shape, tokens, processes, compute),
        _engine(cfg, shape, compute, machine),
    )


def _engine(cfg: DictConfig, shape: Shape, compute: int, machine: Machine) -> float:
    """Of the memory that trains. On a GPU vLLM takes its share, whatever the model needs of it."""
    if not may_take_vllm(cfg) or is_elsewhere(cfg, machine.gpus):
        return 0.0
    if machine.gpus and machine.memory:
        return memory_share(cfg, machine.gpus) * machine.memory
    cache = 0.0 if machine.gpus else float(os.environ.get(CPU_CACHE, CPU_GIB)) * GIB
    return shape.parameters * compute + cache


def _weights(cfg: DictConfig, shape: Shape, compute: int) -> tuple[float, float]:
    """Bytes of all weights, and how many are trained."""
    if cfg.peft.method is PeftMethod.none:
        # The casts to bfloat16 live as long as a forward pass.
        return shape.parameters * (FLOAT + (HALF if compute == HALF else 0)), shape.parameters
    adapter = cfg.peft.r * sum(map(sum, shape.linear))
    whole = len(cfg.peft.modules_to_save or []) * shape.hidden * shape.vocabulary
    quantised = sum(map(math.prod, shape.linear)) * (cfg.peft.method is PeftMethod.qlora)
    frozen = (shape.parameters - quantised) * compute + quantised * QUANTISED
    return frozen + (adapter + whole) * FLOAT, adapter + whole


def _update(
    cfg: DictConfig, shape: Shape, tokens: Tokens, micro: int, compute: int, gpu: bool
) -> float:
    """What a micro-batch needs. With `auto`, rows are computed as stock does, too, for its time."""
    passes = partial(_passes, cfg, shape, compute, gpu)
    distinct, scored = _distinct(cfg, tokens, micro), micro * tokens.completion
    # Without Triton stock TRL scores prompts, too.
    if cfg.trainer.shared_prefix is SharedPrefix.off:
        return passes(distinct, scored if gpu else distinct, own=False)
    ours = passes(distinct, scored, own=not gpu)
    if cfg.trainer.shared_prefix is not SharedPrefix.auto or gpu:
        return ours
    row = tokens.prefix + tokens.question + tokens.completion
    timed = row * max(1, scored // row)
    return max(ours, passes(timed, timed, own=False))


def _passes(
    cfg: DictConfig, shape: Shape, compute: int, gpu: bool, n: int, scored: int, own: bool
) -> float:
    """Activations of n tokens at the moment when the output layer's gradient is computed.

    `own`: with what rlvr/training/shared_prefix does on a CPU.
    """
    full = cfg.peft.method is PeftMethod.none
    # Norms keep float32 inputs, and normed values where their weights are trained; linear layers
    # keep their inputs, attention its queries, keys, values and output, the gate both its factors.
    norms = FLOAT * shape.hidden * (4 if full else 2)
    inputs = compute * (
        2 * shape.hidden + 2 * shape.queries + 2 * shape.keys + 4 * shape.intermediate
    )
    gradients = compute * 3 * shape.intermediate  # of one layer, while it is passed through
    stream = n * compute * shape.hidden
    if cfg.trainer.gradient_checkpointing:
        attended = n * compute * shape.queries * own  # is not recomputed
        held, passing = (stream + attended) * shape.layers, n * (norms + inputs + gradients)
    else:
        held, passing = n * shape.layers * (norms + inputs), n * gradients
    head = 3.0 * scored * shape.hidden * FLOAT
    if own and not full and not cfg.peft.modules_to_save:
        head += scored * min(shape.vocabulary, OWN_COLUMNS) * OWN_TILES * FLOAT
    else:
        tile = min(scored, TILE_ROWS) * min(shape.vocabulary, TILE_COLUMNS)
        head += tile * (compute if gpu else TILES_IN_TORCH * FLOAT)
    if full:
        head += shape.hidden * shape.vocabulary * FLOAT  # its own gradient, before it is added
    return 3 * stream + held + max(head, passing)


def _distinct(cfg: DictConfig, tokens: Tokens, micro: int) -> int:
    """Tokens that go through the model at once: a shared one once, or rows with their padding."""
    if cfg.trainer.shared_prefix is SharedPrefix.off:
        return micro * (tokens.prefix + tokens.question + tokens.completion)
    questions = math.ceil(micro / cfg.trainer.num_generations)
    count = tokens.prefix + questions * tokens.question + micro * tokens.completion
    return min(count, cfg.trainer.token_budget or count)


def _rollout(cfg: DictConfig, shape: Shape, tokens: Tokens, processes: int, compute: int) -> float:
    """Keys and values when the last token is sampled; buffers of own tokens grow by doubling."""
    t = cfg.trainer
    rows = t.batch_size * t.optimizer_steps_per_generation // processes
    questions = math.ceil(rows / t.num_generations)
    own = rows * max(16, 2 ** math.ceil(math.log2(tokens.completion)))
    if t.prefix_cache:
        prompts = tokens.prefix + questions * tokens.question
    else:
        prompts = rows * (tokens.prefix + tokens.question)
    kept = (prompts + own) * shape.layers * 2 * shape.keys * compute
    prefill = prompts * (4 * FLOAT * shape.hidden + 3 * compute * shape.intermediate)
    logits = 5 * rows * shape.vocabulary * FLOAT
    return kept + max(prefill, logits)
