"""How far a model has gone from its base, at `beta=0`, on a few completions that the base wrote."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from trl import GRPOTrainer
from trl.models.utils import disable_gradient_checkpointing

from rlvr import ranks
from rlvr.training import checkpoints

ROWS = 8  # of each process
TIMES = 20  # in a run


class KLProbe:
    """Completions of the first batch, which the base model sampled, and its log-probabilities.

    So no copy of the base model is needed, whether adapters or all weights are trained.
    """

    def __init__(self, run_dir: Path) -> None:
        self._file = run_dir / f"health/kl_probe_{ranks.rank()}.pt"
        self._kept: dict[str, Tensor] | None = None

    def keep(self, trainer: GRPOTrainer, inputs: dict[str, Any]) -> None:
        """Call before the first optimizer step; later calls keep nothing."""
        if trainer.state.global_step > 0 or self._kept is not None:
            return
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)[:ROWS]
        mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)[:ROWS]
        completion = inputs["completion_mask"] * inputs.get("tool_mask", 1)
        self._kept = {"ids": ids.clone(), "mask": mask.clone(), "completion": completion[:ROWS]}
        self._kept["base"] = self._log_probs(trainer)
        self._file.parent.mkdir(exist_ok=True)
        torch.save(self._kept, self._file)

    def due(self, trainer: GRPOTrainer) -> bool:
        """Asked at steps that have sampled: is it the first after another twentieth of the run?

        A run that goes on may ask before it has trained a step: it has the probe of its beginning.
        """
        if self._kept is None and self._file.exists():
            self._kept = checkpoints.load(self._file, trainer.accelerator.device)
        args, state = trainer.args, trainer.state
        every = max(1, state.max_steps // TIMES)
        samples = args.steps_per_generation * args.num_iterations
        between = max(1, samples // args.gradient_accumulation_steps)
        before = (state.global_step - between) // every
        return self._kept is not None and state.global_step // every > before

    def measure(self, trainer: GRPOTrainer) -> float:
        """KL(base || model) in nats a token: the k3 estimate of Schulman (2020), never negative."""
        assert self._kept is not None
        log_ratio = self._log_probs(trainer) - self._kept["base"]
        per_token = torch.expm1(log_ratio) - log_ratio
        counted = self._kept["completion"]
        return float((per_token * counted).sum() / counted.sum().clamp(min=1))

    @torch.no_grad()
    def _log_probs(self, trainer: GRPOTrainer) -> Tensor:
        """(ROWS, C), as stock TRL computes them, without dropout."""
        assert self._kept is not None
        kept, model = self._kept, trainer.model
        training = model.training
        model.eval()
        with disable_gradient_checkpointing(model, trainer.args.gradient_checkpointing_kwargs):
            found: Tensor = GRPOTrainer._get_per_token_logps_and_entropies(
                trainer,
                model,
                kept["ids"],
                kept["mask"],
                kept["completion"].shape[1],
                batch_size=1,  # so that it needs less memory than the update
            )[0]
        model.train(training)
        return found
