"""TRL's GRPOTrainer whose rollouts come from our sampler and obey the stop rule."""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from trl import GRPOConfig
from trl.models import unwrap_model_for_generation

from rlvr.safeguards.health import HealthMonitor
from rlvr.sampling.shared import sampler
from rlvr.sampling.stop import StopRule
from rlvr.training.arguments import rollout_sampling
from rlvr.training.shared_prefix.update import SharedPrefixGRPOTrainer, Sharing

# TRL warns that `rollout_func` may change; constraints.txt pins TRL and the tests run it.
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")


class Trainer(SharedPrefixGRPOTrainer):
    """GRPO on a few-shot dataset.

    TRL's own generation path takes no stop strings (huggingface/trl#2820), so a base model would
    run on into an invented next question. Rollouts go through TRL's `rollout_func` instead.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        args: GRPOConfig,
        reward_funcs: list[Callable[..., Any]],
        stop: StopRule,
        train_dataset: Dataset,
        sharing: Sharing,
        prefix_cache: bool,
        eval_dataset: Dataset | None = None,
        peft_config: LoraConfig | None = None,
        callbacks: Sequence[TrainerCallback] = (),
        health: HealthMonitor | None = None,
    ) -> None:
        self.stop = stop
        self.health = health
        if args.use_vllm:
            args.generation_kwargs = {**(args.generation_kwargs or {}), "stop": list(stop.strings)}
        super().__init__(
            model=model,
            reward_funcs=reward_funcs,
            args=args,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=tokenizer,
            peft_config=peft_config,
            callbacks=list(callbacks),
            rollout_func=None if args.use_vllm else rollout,
            sharing=sharing,
        )
        self.generate = sampler(self.model, prefix_cache)

    def _calculate_rewards(
        self,
        inputs: list[dict[str, Any]],
        prompts: list[Any],
        completions: list[Any],
        completion_ids_list: list[list[int]],
    ) -> torch.Tensor:
        """Rewards of all processes, (n, rewards); the monitor sees this process's part of them."""
        rewards: torch.Tensor = super()._calculate_rewards(
            inputs, prompts, completions, completion_ids_list
        )
        if self.health is not None and self.model.training:
            start = self.accelerator.process_index * len(prompts)
            local = rewards[start : start + len(prompts)].double().cpu().numpy()
            step = self.state.global_step + 1
            self.health.observe(
                inputs, completions, completion_ids_list, local, step, self._log_metric
            )
        return rewards

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if self.health is not None and self.model.training and "reward" in self._metrics["train"]:
            self.health.conclude(self._metrics["train"], self.state.global_step)
        super().log(logs, start_time)

    @contextmanager
    def inference(self) -> Iterator[PreTrainedModel]:
        """The bare model, its parameters gathered, without dropout and without checkpointing."""
        training = self.model.training
        with unwrap_model_for_generation(
            self.model_wrapped,
            self.accelerator,
            gather_deepspeed3_params=self.args.ds3_gather_for_generation,
            gradient_checkpointing_kwargs=self.args.gradient_checkpointing_kwargs,
        ) as model:
            model.eval()
            yield model
            model.train(training)


def at_least_one_batch(train: Dataset, args: GRPOConfig) -> Dataset:
    """Repeat a tiny training set: TRL drops incomplete batches, and with them a single example."""
    unique = args.generation_batch_size // args.num_generations
    return train if len(train) >= unique else train.repeat(math.ceil(unique / len(train)))


def rollout(prompts: list[str], trainer: Trainer) -> dict[str, Any]:
    """TRL's rollout contract: prompt ids, completion ids, and which tokens the model chose itself.

    A row that ended by the stop rule gets an EOS token, so that TRL does not count it as cut off;
    the model never sampled that token, so `env_mask` keeps it out of the loss.
    """
    tokenizer = trainer.processing_class
    prompt_ids = tokenizer(text=prompts)["input_ids"]
    with trainer.inference() as model:
        sampled = trainer.generate(
            model, tokenizer, prompt_ids, rollout_sampling(trainer.args), trainer.stop
        )
    eos = set(trainer.eos_token_ids)
    added = [
        ended and ids[-1] not in eos for ids, ended in zip(sampled.ids, sampled.ended, strict=True)
    ]
    end = [tokenizer.eos_token_id]
    return {
        "prompt_ids": prompt_ids,
        "completion_ids": [ids + end * a for ids, a in zip(sampled.ids, added, strict=True)],
        "logprobs": None,
        "env_mask": [[1] * len(ids) + [0] * a for ids, a in zip(sampled.ids, added, strict=True)],
    }
