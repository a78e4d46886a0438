"""Every private name of TRL, transformers and accelerate that this project uses or overrides.

A private name may change with any release, and with it what our code computes. Here is what we
rely on, as it was when the tests proved it right: tests/training/test_trl_private.py compares it
with what is installed, and fails with the names that changed. It also fails when a private name is
used that is not in this file.
"""

import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import trl
import trl.trainer.utils as trl_utils
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel, Trainer
from trl import GRPOConfig, GRPOTrainer
from trl.kernels import ChunkedLogProbFunction
from trl.trainer.utils import split_tensor_dict

from rlvr.training.shared_prefix import head

__all__ = ["split_tensor_dict"]

# What our trainers override or call, or whose inner working they lean on: digests of the source.
PINNED: dict[Callable[..., Any], str] = {
    GRPOTrainer._calculate_rewards: "736ae29b083840b5",
    GRPOTrainer._compute_loss: "80295546bbdbf6f7",
    GRPOTrainer._generate: "2a27fdf8f5e6f356",
    GRPOTrainer._generate_and_score_completions: "1fa48922792dcd5c",
    GRPOTrainer._get_per_token_logps_and_entropies: "ea73c3909275851d",
    GRPOTrainer._log_completion_extra: "afe43ddaa96cfd5c",
    GRPOTrainer._get_train_sampler: "36497afb4d311dc9",
    GRPOTrainer._log_metric: "bcd19b9ca1016e3a",
    GRPOTrainer._prepare_inputs: "f824e7fb07147956",
    GRPOTrainer._save_checkpoint: "ec91bde123649111",
    GRPOTrainer.log: "1e7772819cc8cf09",
    GRPOTrainer.training_step: "9e18632f7dd8e8d8",
    Trainer._finalize_training: "6d6d83d6a2715f2a",
    Trainer._get_grad_norm: "913ba6f52f074d10",
    Trainer._get_output_dir: "97172085342ac46c",
    Trainer._init_training_state: "8fbd17ebb7d3793d",
    Trainer._load_rng_state: "d5ebdfc0a0884c4b",
    Trainer._maybe_log_save_evaluate: "af101534f0f7b2d7",
    Trainer._run_epoch: "31aff00f34c302a2",
    Trainer.training_step: "e9760c8ee10308d5",  # scales the loss, and calls `backward`
    ChunkedLogProbFunction.forward: "1d8220b44273cdf3",  # whose place `_Head` takes
    trl_utils._use_triton: "f0510984e05ac05c",
    trl_utils.add_fused_lm_head: "422d009f04b66659",  # `fused_lm_head`, `shift_labels`
    trl_utils.split_tensor_dict: "b61a5760a03e95db",
}

# Attributes that GRPOTrainer or the trainer it inherits from sets, and our trainers read.
OF_THE_TRAINER = {
    "_buffered_inputs": "micro-batches of the last generation",
    "_initial_global_step": "steps made when training began, which the speed is counted from",
    "_entropy_bonus_enabled": "whether the loss has an entropy term",
    "_is_vlm": "whether rows have images",
    "_last_loaded_step": "optimizer steps when TRL last gave weights to its own vLLM",
    "_pending_extra_logs": "columns that rewards log beside completions, until they are logged",
    "_metrics": "lists of numbers to be averaged in the next log, by mode and name",
    "_step": "micro-batches trained",
    "_tr_loss": "sum of the losses since the last log",
}

OF_A_MODEL = {
    "_is_stateful": "whether layers are recurrent",
    "_supports_attention_backend": "whether the attention is looked up by name",
}

# `_original_forward`, which accelerate leaves on a model beneath its autocast, is read in
# rlvr/prefix/precision.py; without it the comparison in float32 would be made under autocast.
OF_A_CONFIG = {"_attn_implementation": "the name of the attention"}


def changes() -> list[str]:
    """What is not as it was when our code was proven right, a sentence each."""
    found = [
        f"{f.__module__}.{f.__qualname__}{inspect.signature(f)} has changed; its digest is now "
        f"{digest(f)!r}"
        for f, known in PINNED.items()
        if digest(f) != known
    ]
    trainer = inspect.getsource(GRPOTrainer) + inspect.getsource(Trainer)
    model = dir(PreTrainedModel)
    found += [
        f"GRPOTrainer no longer sets self.{name} ({meaning})"
        for name, meaning in OF_THE_TRAINER.items()
        if not re.search(rf"self\.{name}\b.* = ", trainer)
    ]
    found += [
        f"PreTrainedModel has no {name} ({meaning})"
        for name, meaning in OF_A_MODEL.items()
        if name not in model
    ]
    found += [
        f"PreTrainedConfig has no {name} ({meaning})"
        for name, meaning in OF_A_CONFIG.items()
        if name not in dir(PreTrainedConfig)
    ]
    return found and [f"TRL {trl.__version__}:", *found]


def digest(function: Callable[..., Any]) -> str:
    source = inspect.getsource(inspect.unwrap(function))
    return sha256(source.encode()).hexdigest()[:16]


class _NoSync:
    """Stands for TRL's own vLLM, which it gives new weights: our engine takes them itself."""

    def sync_weights(self) -> None:
        return None


def correct_for_engine(trainer: GRPOTrainer) -> None:
    """TRL's importance sampling, for log-probabilities that `rollout_func` returns; it also logs
    how far they are from the trainer's. TRL must not know before, or it would start a vLLM."""
    trainer.use_vllm = True
    trainer.vllm_generation = _NoSync()
    trainer._last_loaded_step = -1


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
def scoring_once() -> Iterator[None]:
    """Also computes logits once where rlvr/training/shared_prefix/head.py can."""
    own = trl_utils._ChunkedLogProbFunction
    trl_utils._ChunkedLogProbFunction = _Head  # type: ignore[misc, assignment]
    try:
        with scoring_labels_only():
            yield
    finally:
        trl_utils._ChunkedLogProbFunction = own


class _Head:
    """Stands for TRL's function, with its arguments and results."""

    @staticmethod
    def apply(
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        temperature: float,
        columns: int,
        softcap: float | None,
        scale: float,
        outputs: tuple[str, ...],
    ) -> tuple[Tensor | None, ...]:
        if head.applies(hidden, weight, bias) and set(outputs) <= {"log_probs", "entropy"}:
            scores = head.LabelScores.apply(
                hidden, weight, bias, labels, temperature, softcap, scale
            )
            return *scores, None, None, None
        rest = (labels, temperature, columns, softcap, scale, outputs)
        return ChunkedLogProbFunction.apply(hidden, weight, bias, *rest)  # type: ignore[no-any-return]


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
