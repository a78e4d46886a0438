"""Every private name of TRL, transformers and accelerate that this project uses or overrides.

A private name may change with any release, and with it what our code computes. Here is what we
rely on, as it was when the tests proved it right: tests/training/test_trl_private.py compares it
with what is installed, and fails with the names that changed. It also fails when a private name is
used that is not in this file.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import trl.trainer.utils as trl_utils
from transformers import PreTrainedModel
from trl import GRPOConfig
from trl.trainer.utils import split_tensor_dict

__all__ = ["split_tensor_dict"]

# What our trainers override or hook into, with the digest of its source.
PINNED: dict[Callable[..., Any], str] = {}

# What is read or written on a trainer: each is set, and meant, by GRPOTrainer.
TRAINER_ATTRIBUTES: tuple[str, ...] = ()

# What is read on a model.
MODEL_ATTRIBUTES: tuple[str, ...] = ()


def digest(function: Callable[..., Any]) -> str:
    source = inspect.getsource(inspect.unwrap(function))
    return sha256(source.encode()).hexdigest()[:16]


@contextmanager
def scoring_labels_only() -> Iterator[None]:
    """Without Triton, TRL's head scores every position; here only those with a label."""
    own = trl_utils._use_triton
    trl_utils._use_triton = lambda device: True
    try:
        yield
    finally:
        trl_utils._use_triton = own


@contextmanager
def recomputed(model: PreTrainedModel, args: GRPOConfig) -> Iterator[None]:
    """Every layer checkpointed without reentrance, whatever the run does: memory of one layer, and
    `torch.autograd.grad` can be asked."""
    before = model.is_gradient_checkpointing
    if not (before or model.supports_gradient_checkpointing):
        yield
        return
    model.gradient_checkpointing_enable({"use_reentrant": False})
    try:
        yield
    finally:
        if before:
            model.gradient_checkpointing_enable(args.gradient_checkpointing_kwargs)
        else:
            model.gradient_checkpointing_disable()


@contextmanager
def not_reentrant(model: PreTrainedModel, args: GRPOConfig) -> Iterator[None]:
    """Layers checkpointed where the run does so, but so that `torch.autograd.grad` can be asked."""
    if not model.is_gradient_checkpointing:
        yield
        return
    with recomputed(model, args):
        yield
