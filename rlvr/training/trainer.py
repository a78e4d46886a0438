"""TRL's GRPOTrainer whose rollouts come from our engines, each completion judged once."""

import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from accelerate.utils import gather_object
from datasets import Dataset
from peft import LoraConfig
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from trl import GRPOConfig
from trl.models import unwrap_model_for_generation

from rlvr.rewards.reward import Reward
from rlvr.safeguards.health import HealthMonitor
from rlvr.sampling import choose
from rlvr.sampling.engine import Completions, OnFinished
from rlvr.sampling.stop import StopRule
from rlvr.sampling.vllm.engine import VllmEngine
from rlvr.training.arguments import rollout_sampling
from rlvr.training.fsdp2 import gathered
from rlvr.training.gradients import GradientGuard
from rlvr.training.kl_probe import KLProbe
from rlvr.training.looks import Looks
from rlvr.training.resumable import Resumption
from rlvr.training.selection import Drawn, Selection
from rlvr.training.shared_prefix.update import SharedPrefixGRPOTrainer, Sharing
from rlvr.training.trl_private import correct_for_engine
from rlvr.verify.judge import Begun, judge
from rlvr.verify.verdict import Reason, Verdict, Verifier

# TRL warns that `rollout_func` may change; constraints.txt pins TRL and the tests run it.
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

TEXT = "completion_text"  # what an engine returned, on its way through TRL to the rewards


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
        rewards: list[Reward],
        verifier: Verifier,
        stop: StopRule,
        train_dataset: Dataset,
        sharing: Sharing,
        prefix_cache: bool,
        eval_dataset: Dataset | None = None,
        peft_config: LoraConfig | None = None,
        callbacks: Sequence[TrainerCallback] = (),
        health: HealthMonitor | None = None,
        save_minutes: float | None = None,
        generation: choose.EngineChoice | None = None,
        selection: Selection | None = None,
    ) -> None:
        self.selection = selection or Selection()
        self.drawn: Drawn | None = None  # where the batch to be scored is sampled already
        self.verifier, self.stop = verifier, stop
        self.begun: Begun | None = None
        self.looks: Looks | None = None  # at validation questions, for a pruner
        self.health, self.resumption = health, Resumption(self, save_minutes)
        self.guard = GradientGuard(health.run_dir, tokenizer) if health else None
        self.probe = KLProbe(health.run_dir) if health and args.beta == 0 else None
        super().__init__(
            model=model,
            reward_funcs=rewards,
            args=args,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=tokenizer,
            peft_config=peft_config,
            callbacks=list(callbacks),
            rollout_func=rollout,
            sharing=sharing,
        )
        self.selection.refuse_several(self.accelerator.num_processes)
        self.draws = torch.Generator().manual_seed(self.args.seed)
        if not self.is_deepspeed_enabled:  # which keeps float32 copies of its own
            _train_in_float32(self.model)
        self._choose_engine(generation or choose.EngineChoice(), prefix_cache)

    def _choose_engine(self, generation: choose.EngineChoice, prefix_cache: bool) -> None:
        """With vLLM, TRL weighs each token by what trainer and engine make of it differently."""
        tokenizer, check = self.processing_class, self.sharing.self_check
        self.engine = choose.engine_for(generation, self.model, tokenizer, prefix_cache, check)
        sampling = rollout_sampling(self.args)
        if choose.undecided(generation, self.engine, self.accelerator.device):
            short = min(choose.TRIAL_TOKENS, sampling.max_new_tokens)
            trial = self._first_prompts(), replace(sampling, max_new_tokens=short)
            self.engine = choose.fastest(generation, self.engine, tokenizer, self.inference, *trial)
        if isinstance(self.engine, VllmEngine) and sampling.is_whole:
            correct_for_engine(self)

    def _first_prompts(self) -> list[list[int]]:
        """As many rows as a step samples, in groups as there."""
        count, rows = self.num_generations, self.args.generation_batch_size
        texts = self.train_dataset[: max(1, rows // count)]["prompt"]
        ids = self.processing_class(text=list(texts))["input_ids"]
        return [prompt for prompt in ids for _ in range(count)]

    def sample(
        self,
        model: PreTrainedModel,
        prompt_ids: list[list[int]],
        on_finished: OnFinished | None = None,
    ) -> Completions:
        """A completion to each prompt.

        All ranks draw the seeds of all rows and take their own: what a row says does not depend on
        how many processes share the batch.
        """
        ranks, rank = self.accelerator.num_processes, self.accelerator.process_index
        drawn = torch.randint(2**40, (ranks, len(prompt_ids)), generator=self.draws)
        seeds, sampling = drawn[rank].tolist(), rollout_sampling(self.args)
        with self.resumption.alone():
            return self.engine.sample(model, prompt_ids, sampling, self.stop, seeds, on_finished)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """A completion is judged as soon as it ends, while others are sampled."""
        self.drawn = None
        if self.model.training:
            inputs = self.selection.chosen(self, inputs)
        with Begun(self.verifier, inputs) as self.begun:
            scored: dict[str, Any] = super()._generate_and_score_completions(inputs)
        if self.drawn is not None:
            self.drawn.account(self._metrics["train"])
        self.begun, self.drawn = None, None
        return scored

    def _calculate_rewards(
        self,
        inputs: list[dict[str, Any]],
        prompts: list[str],
        completions: list[str],
        completion_ids_list: list[list[int]],
    ) -> torch.Tensor:
        """Rewards of all processes, (n, rewards), from one verdict a completion.

        `completions` are decoded whole; what counts are the engine's texts, cut by the stop rule.
        """
        texts = [row.pop(TEXT) for row in inputs]
        if self.drawn is not None:
            verdicts, rewards = self.drawn.verdicts, self.drawn.rewards
        else:
            verdicts, rewards = self.pay(inputs, texts, completion_ids_list, self.begun)
            if self.model.training:
                self.selection.observe(self, inputs, rewards)
        self._log_verdicts(verdicts)
        if self.health is not None and self.model.training:
            lengths = [len(ids) for ids in completion_ids_list]
            seen = zip(inputs, completions, texts, lengths, verdicts, strict=True)
            # Every rank sees all rows.
            rows, raw, cut, counts, judged = zip(*gather_object(list(seen)), strict=True)
            paid = rewards.double().cpu().numpy()
            batch = self.health.batch(rows, raw, cut, counts, judged, paid)
            self.health.observe(batch, self.state.global_step + 1, self._log_metric)
        return rewards

    def pay(
        self,
        rows: list[dict[str, Any]],
        texts: list[str],
        completion_ids: list[list[int]],
        begun: Begun | None = None,
    ) -> tuple[list[Verdict], torch.Tensor]:
        """Verdicts, and rewards of all processes (n, rewards)."""
        with self.resumption.alone():
            verdicts = judge(self.verifier, rows, texts, begun)
        with_verdicts = [{**row, "verdicts": v} for row, v in zip(rows, verdicts, strict=True)]
        prompts = [row["prompt"] for row in rows]
        paid = super()._calculate_rewards(with_verdicts, prompts, texts, completion_ids)
        return verdicts, paid

    def with_ends(self, sampled: Completions) -> tuple[list[list[int]], list[list[int]]]:
        """Ids, and which of them the model chose itself. A row that ended by the stop rule gets an
        EOS token, so that TRL does not count it as cut off."""
        eos, end = set(self.eos_token_ids), [self.processing_class.eos_token_id]
        added = [
            done and ids[-1] not in eos
            for ids, done in zip(sampled.ids, sampled.ended, strict=True)
        ]
        rows = list(zip(sampled.ids, added, strict=True))
        return [ids + end * a for ids, a in rows], [[1] * len(ids) + [0] * a for ids, a in rows]

    def _log_verdicts(self, verdicts: Sequence[Verdict]) -> None:
        """Share of each reason, zeros included: every process must report the same names."""
        counts = Counter(verdict.reason for verdict in verdicts)
        for reason in Reason:
            self._log_metric(f"reasons/{reason.value}", counts[reason] / max(len(verdicts), 1))
        self._log_completion_extra("verdict", [verdict.reason.value for verdict in verdicts])
        self._log_completion_extra("extracted", [verdict.extracted for verdict in verdicts])

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        metrics = self._metrics["train"]
        if self.health is not None and self.model.training and "reward" in metrics:
            if self.probe is not None and self.probe.due(self):
                metrics["health/kl_probe"].append(self.probe.measure(self))
            self.health.complete_log_entry(metrics, self.state.global_step, logs)
        super().log(logs, start_time)

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        if self.model.training and self.probe is not None:
            self.probe.keep(self, inputs)
        loss = super()._compute_loss(model, inputs)
        if self.model.training and self.guard is not None:
            self.guard.add(inputs, self._log_probs)
        return loss

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        found = super()._get_per_token_logps_and_entropies(*args, **kwargs)
        self._log_probs = found[0].detach()
        return found

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """Transformers asks for it between clipping and the optimizer's step."""
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        if self.guard is not None and norm is not None:
            rate = self.args.learning_rate
            self.guard.check(float(norm), self.state.global_step + 1, rate)
        return norm

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Raises KeyboardInterrupt, with a checkpoint made, where a signal ends the run."""
        with self.resumption.guarded():
            return super().train(*args, **kwargs)

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        self.resumption.end_if_told()
        return super().training_step(*args, **kwargs)

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
        self._sampler = super()._get_train_sampler(*args, **kwargs)
        return self._sampler

    def _init_training_state(self, *args: Any, **kwargs: Any) -> tuple[int, int]:
        epochs, batches = super()._init_training_state(*args, **kwargs)
        checkpoint = kwargs.get("resume_from_checkpoint", args[3] if len(args) > 3 else None)
        self.resumption.begin(checkpoint, epochs, self._sampler)
        return epochs, batches

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        # transformers would train one step more than max_steps.
        if self.state.global_step < self.state.max_steps:
            super()._run_epoch(*args, **kwargs)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        super()._load_rng_state(checkpoint)
        self.resumption.go_on()

    def _finalize_training(self, *args: Any, **kwargs: Any) -> Any:
        self.resumption.go_on()  # where no step was left
        return super()._finalize_training(*args, **kwargs)

    def _maybe_log_save_evaluate(self, *args: Any, learning_rate: float | None = None) -> None:
        _, grad_norm, _, _, epoch = args[:5]
        self.resumption.end_step(grad_norm, learning_rate, epoch)
        if self.looks is not None and self.looks.pruned_at(self.state.global_step):
            self.control.should_training_stop = self.control.should_save = True
        super()._maybe_log_save_evaluate(*args, learning_rate=learning_rate)

    def _get_output_dir(self, trial: Any) -> str:
        return str(self.resumption.into or super()._get_output_dir(trial))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self.resumption.save(partial(super()._save_checkpoint, model, trial))

    @contextmanager
    def inference(self) -> Iterator[PreTrainedModel]:
        """The bare model, its parameters gathered, without dropout and without checkpointing.

        Ranks enter and leave together; within, each may call it as often as it needs.
        """
        training = self.model.training
        with unwrap_model_for_generation(
            self.model_wrapped,
            self.accelerator,
            gather_deepspeed3_params=self.args.ds3_gather_for_generation,
            gradient_checkpointing_kwargs=self.args.gradient_checkpointing_kwargs,
        ) as model:
            model.eval()
            # One autocast around many calls casts each weight once.
            with gathered(model), _without_lockstep(model), self.accelerator.autocast():
                yield model
            model.train(training)


def _train_in_float32(model: PreTrainedModel) -> None:
    """All that learns: peft leaves its copies of `peft.modules_to_save` in half precision."""
    for weight in model.parameters():
        if weight.requires_grad and weight.dtype in (torch.bfloat16, torch.float16):
            weight.data = weight.data.float()


@contextmanager
def _without_lockstep(model: PreTrainedModel) -> Iterator[None]:
    """TRL takes ZeRO-3's hooks off the layers for sampling, but one stays on the model, in which
    every rank waits for all others to call it too."""
    hooks = {
        key: hook
        for key, hook in model._forward_pre_hooks.items()
        if (hook.__module__ or "").startswith("deepspeed.")
    }
    for key in hooks:
        del model._forward_pre_hooks[key]
    try:
        yield
    finally:
        model._forward_pre_hooks.update(hooks)


def at_least_one_batch(train: Dataset, args: GRPOConfig) -> Dataset:
    """Repeat a tiny training set: TRL drops incomplete batches, and with them a single example."""
    unique = args.generation_batch_size // args.num_generations
    return train if len(train) >= unique else train.repeat(math.ceil(unique / len(train)))


def _filled(scores: list[float], ids: list[int]) -> list[float]:
    """What was added to a completion was not sampled, and is not trained on."""
    return scores + [0.0] * (len(ids) - len(scores))


def rollout(prompts: list[str], trainer: Trainer) -> dict[str, Any]:
    """TRL's rollout contract: prompt ids, completion ids, and which tokens the model chose itself.

    `env_mask` keeps out of the loss what the model never sampled.
    """
    tokenizer = trainer.processing_class
    prompt_ids = tokenizer(text=prompts)["input_ids"]
    if trainer.drawn is not None:
        sampled = trainer.drawn.completions
    else:
        with trainer.inference() as model:
            told = trainer.begun.add if trainer.begun is not None else None
            sampled = trainer.sample(model, prompt_ids, told)
    completion_ids, own = trainer.with_ends(sampled)
    scores = sampled.log_probs if trainer.use_vllm else None
    if isinstance(trainer.engine, VllmEngine):
        trainer._log_metric("perf/seconds_sync", trainer.engine.seconds_of_last_sync)
    return {
        "prompt_ids": prompt_ids,
        "completion_ids": completion_ids,
        # what was added was not sampled, and is not trained on
        "logprobs": scores
        and [
            row + [0.0] * (len(ids) - len(row))
            for row, ids in zip(scores, completion_ids, strict=True)
        ],
        TEXT: sampled.texts,
        "env_mask": own,
    }
