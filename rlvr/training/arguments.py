"""From our few settings to TRL's GRPOConfig."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import DictConfig, OmegaConf
from transformers import PreTrainedTokenizerBase
from trl import GRPOConfig

from rlvr import ranks
from rlvr.config.batch import Batch
from rlvr.config.generation import (
    GUESSES,
    max_model_len,
    memory_share,
    missing,
    reasons_against,
)
from rlvr.config.schema import Generation, PeftMethod, TrainOrder
from rlvr.errors import UserError
from rlvr.run_directory import generation_records
from rlvr.sampling.choose import EngineChoice
from rlvr.sampling.engine import Sampling
from rlvr.sampling.vllm.settings import VllmSettings
from rlvr.training.model import computed_in, mixed_precision, resolve_path

if TYPE_CHECKING:
    from rlvr.data.load import Splits

LOOKED_AT = 16  # prompts with the most characters, of which one has the most tokens

# Settings that have the same name and meaning in GRPOConfig.
SAME = (
    "learning_rate lr_scheduler_type num_train_epochs max_steps num_iterations "
    "num_generations max_completion_length temperature top_p beta "
    "loss_type scale_rewards importance_sampling_level epsilon epsilon_high max_grad_norm "
    "mask_truncated_completions gradient_checkpointing logging_steps"
).split()


def grpo_config(
    cfg: DictConfig, run_dir: Path, reward_weights: list[float], batch: Batch
) -> GRPOConfig:
    """The arguments of one run; raises UserError with TRL's own words where TRL refuses them."""
    extra = OmegaConf.to_container(cfg.trainer.extra, resolve=True)
    assert isinstance(extra, dict)
    values = {
        **{name: getattr(cfg.trainer[name], "value", cfg.trainer[name]) for name in SAME},
        **_batch(cfg, batch),
        **_files(cfg, run_dir),
        **_device(cfg),
        "reward_weights": reward_weights,
        "seed": cfg.seed,
        "data_seed": cfg.seed,
        "shuffle_dataset": cfg.dataset.train_order is TrainOrder.shuffled,
        "warmup_steps": cfg.trainer.warmup_ratio,
        "report_to": "none",
        "disable_tqdm": True,
        "log_completions": True,
        **{str(name): value for name, value in extra.items()},
    }
    try:
        return GRPOConfig(**values)
    except ValueError as error:
        raise UserError(f"trainer: {error}") from error


def _batch(cfg: DictConfig, batch: Batch) -> dict[str, Any]:
    rounds = cfg.trainer.optimizer_steps_per_generation
    return {
        "per_device_train_batch_size": batch.micro,
        "gradient_accumulation_steps": batch.accumulation,
        "steps_per_generation": batch.accumulation * rounds,
        "per_device_eval_batch_size": batch.micro,
    }


def _files(cfg: DictConfig, run_dir: Path) -> dict[str, Any]:
    t = cfg.trainer
    return {
        "output_dir": str(run_dir / "checkpoints"),
        # One at the end in any case; `save_minutes` and old ones are the trainer's own affair.
        "save_strategy": "steps",
        "save_steps": t.save_steps or sys.maxsize,
        "eval_strategy": "steps" if t.eval_steps else "no",
        "eval_steps": t.eval_steps,
        "num_generations_eval": 1,
    }


def _device(cfg: DictConfig) -> dict[str, Any]:
    cuda = torch.cuda.is_available()
    deepspeed = cfg.trainer.distributed.is_deepspeed
    return {
        # DeepSpeed asks accelerate for a device; on a CPU it needs `use_cpu` off and gloo.
        "use_cpu": not cuda and not deepspeed,
        "ddp_backend": "gloo" if ranks.is_rank() and not cuda else None,
        "bf16": mixed_precision(cfg),
        "dataloader_pin_memory": cuda,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
    }


def rollout_sampling(args: GRPOConfig) -> Sampling:
    """How training draws completions, from the arguments TRL would have used itself."""
    return Sampling(
        max_new_tokens=args.max_completion_length,
        temperature=args.temperature,
        top_p=args.top_p,
        top_k=args.top_k or 0,
        min_p=args.min_p or 0.0,
        repetition_penalty=args.repetition_penalty,
    )


def generation(
    cfg: DictConfig, run_dir: Path, splits: "Splits", tokenizer: PreTrainedTokenizerBase
) -> EngineChoice:
    """What is to sample, and what a vLLM would be; raises UserError if it has no room."""
    chosen = cfg.trainer.generation
    problem = None
    if chosen.is_vllm or chosen is Generation.auto:
        several = "vLLM takes the weights of one process" if ranks.is_rank() else None
        against = missing(cfg) or several or next(reasons_against(cfg), None)
        problem = against or _no_room(cfg, splits, tokenizer)
    if problem and chosen.is_vllm:
        raise UserError(f"trainer.generation={chosen.value}: {problem}")
    possible = problem is None and chosen not in (Generation.transformers, Generation.shared)
    settings = vllm_settings(cfg, run_dir / "vllm.log") if possible else None
    return EngineChoice(chosen.value, settings, generation_records(run_dir))


def _no_room(cfg: DictConfig, splits: "Splits", tokenizer: PreTrainedTokenizerBase) -> str | None:
    """The longest prompt may come late in training: all are looked at before."""
    room = max_model_len(cfg)
    longest = cfg.trainer.max_completion_length + max(
        len(tokenizer(text=text)["input_ids"])
        for text in sorted(splits.train["prompt"], key=len)[-LOOKED_AT:]
    )
    if longest <= room:
        return None
    return (
        f"a prompt and its completion may have {longest} tokens, and there is room for {room}: set "
        f"trainer.vllm.max_model_len={longest} where the model allows it, or fewer shots"
    )


def vllm_settings(cfg: DictConfig, log: Path) -> VllmSettings:
    """The base model as the trainer computes with it; QLoRA's weights replace it later."""
    half = mixed_precision(cfg) or computed_in(cfg) is torch.bfloat16
    return VllmSettings(
        model=resolve_path(cfg.model.path),
        revision=cfg.model.revision,
        trust_remote_code=cfg.model.trust_remote_code,
        dtype="bfloat16" if half else "float32",
        max_model_len=max_model_len(cfg),
        lora_rank=0 if cfg.peft.method is PeftMethod.none else cfg.peft.r,
        memory_share=memory_share(cfg, torch.cuda.device_count()),
        log=str(log),
        guesses=GUESSES if cfg.trainer.vllm.speculation else 0,
        server=cfg.trainer.vllm.server,
    )


def evaluation_sampling(cfg: DictConfig) -> Sampling:
    return Sampling(
        max_new_tokens=cfg.eval.max_completion_length,
        temperature=cfg.eval.temperature,
        top_p=cfg.eval.top_p,
    )
