"""Where a training step's time goes, as `perf/*` metrics beside TRL's own."""

from collections.abc import Sequence
from time import perf_counter
from typing import Any

import torch
from torch import Tensor
from trl import GRPOTrainer


def clock() -> float:
    """Seconds. A GPU is waited for: what was asked of it is done by then."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return perf_counter()


class TimedGRPOTrainer(GRPOTrainer):
    """Seconds of each phase, and tokens per second sampled and trained."""

    _waited = 0.0  # for inputs, since the optimizer step began
    _updated = 0.0  # in forward and backward, likewise
    _trained_tokens = 0

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any) -> Tensor:
        start, waited = clock(), self._waited
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        self._updated += clock() - start - (self._waited - waited)
        if self._step % self.current_gradient_accumulation_steps == 0:
            self._log_step()
        return loss

    def _log_step(self) -> None:
        metrics = self._metrics["train"]
        metrics["perf/seconds_rollout"].append(self._waited)
        metrics["perf/seconds_update"].append(self._updated)
        metrics["perf/trained_tokens_per_second"].append(self._trained_tokens / self._updated)
        self._waited, self._updated, self._trained_tokens = 0.0, 0.0, 0

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        start = clock()
        inputs: dict[str, Any] = super()._prepare_inputs(generation_batch)
        if self.model.training:  # an evaluation within a step is no part of it
            self._waited += clock() - start
        return inputs

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        if self.model.training:
            tokens = inputs["prompt_mask"].sum() + inputs["completion_mask"].sum()
            self._trained_tokens += int(tokens)
        loss: Tensor = super()._compute_loss(model, inputs)
        return loss

    def _generate(self, prompts: list[Any]) -> Sequence[Any]:
        start = clock()
        output: Sequence[Any] = super()._generate(prompts)
        seconds, completions = clock() - start, output[1]
        metrics = self._metrics["train" if self.model.training else "eval"]
        metrics["perf/seconds_generate"].append(seconds)
        metrics["perf/generated_tokens_per_second"].append(sum(map(len, completions)) / seconds)
        return output
