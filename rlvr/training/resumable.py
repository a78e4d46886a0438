"""Training that goes on from any moment as if nothing had happened, to the last bit.

transformers saves weights, optimizer, scheduler and random states at the end of a step. What TRL
and we keep in memory between two steps is saved here beside them: the completions still to be used
(`steps_per_generation`, `num_iterations`), sums of metrics not yet logged, and health's windows.

A run that is told to end has no time for the rest of its step. It goes back to the end of the last
one, where weights and optimizer still are, and saves that.
"""

import logging
import pickle
import random
import shutil
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import broadcast_object_list, gather_object
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import GRPOTrainer

from rlvr import interruptions
from rlvr.training import checkpoints

log = logging.getLogger(__name__)

# Attributes that training changes, by how they are kept; none of them decides on a device.
NUMBERS = ("_step", "_total_loss_scalar", "_globalstep_last_logged", "current_flos")
BUFFER = "_buffered_inputs"  # replaced as a whole, so that a reference keeps it
CONTAINERS = ("_metrics", "_logs", "_pending_metrics", "_pending_extra_logs")
OF_STATE = ("global_step", "epoch", "num_input_tokens_seen", "total_flos")
FLAGS = ("should_log", "should_evaluate", "should_save")
SHARE_OF_TIME = 0.05  # at most this much of the time goes into checkpoints


class HoldSignals(TrainerCallback):
    """While the optimizer changes weights there is no end of a step to go back to."""

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        interruptions.hold()


class ResumableTrainer(GRPOTrainer):
    """Saves by time, when told to end, and at the end; goes on from what it saved.

    `minutes` between two checkpoints, None for those of `save_steps` alone. `health` is None or an
    object whose attributes can be pickled; its `_history` is made again from the logged metrics.
    """

    save_minutes: float | None = None
    health: Any = None
    draws: torch.Generator  # seeds of the completions
    _last_end: dict[str, Any] | None = None  # of a step: what `_kept` returned
    _left: dict[str, Any] | None = None  # of the last step, where it was cut off
    _from: Path | None = None  # the checkpoint whose state is still to be taken
    _save_seconds = 0.0
    _into: Path | None = None  # where a checkpoint is being written

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Raises KeyboardInterrupt, with a checkpoint made, where a signal ends the run."""
        self._saved_at = time.monotonic()
        self.add_callback(HoldSignals())
        if self.accelerator.num_processes > 1:
            interruptions.hold()  # the ranks must end at the same step
        try:
            return super().train(*args, **kwargs)
        except KeyboardInterrupt:
            if self.accelerator.num_processes == 1 and self._last_end is not None:
                self._put_back(self._last_end)
                self._left = self._last_end["left"]
                self._save_checkpoint(self.model, None)
                log.info("saved step %d, to go on from", self.state.global_step)
            raise
        finally:
            self.remove_callback(HoldSignals)
            interruptions.release()

    def newest_checkpoint(self) -> Path | None:
        """The newest that is whole, on every machine of the run."""
        folder = Path(self.args.output_dir)
        names = [checkpoint.name for checkpoint in checkpoints.newest_first(folder)]
        (names,) = broadcast_object_list([names])
        for name in names:
            is_first = self.accelerator.is_local_main_process
            problem = checkpoints.damage(folder / name) if is_first else None
            found = [found for found in gather_object([problem]) if found]
            if not found:
                return folder / name
            if self.is_world_process_zero():
                log.warning("%s is not used: %s", folder / name, found[0])
        return None

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
        self._sampler = super()._get_train_sampler(*args, **kwargs)
        return self._sampler

    def _init_training_state(self, *args: Any, **kwargs: Any) -> tuple[int, int]:
        epochs, batches = super()._init_training_state(*args, **kwargs)
        checkpoint = kwargs.get("resume_from_checkpoint", args[3] if len(args) > 3 else None)
        self._from = Path(checkpoint) if checkpoint else None
        for _ in range(epochs):  # TRL's sampler draws an order in each epoch, from one generator
            torch.randperm(self._sampler.num_samples, generator=self._sampler.generator)
        return epochs, batches

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        # transformers would train one step more than max_steps.
        if self.state.global_step < self.state.max_steps:
            super()._run_epoch(*args, **kwargs)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        super()._load_rng_state(checkpoint)
        self._go_on()

    def _finalize_training(self, *args: Any, **kwargs: Any) -> Any:
        self._go_on()  # where no step was left
        return super()._finalize_training(*args, **kwargs)

    def _go_on(self) -> None:
        """Take the state of the checkpoint, and finish what its step had not finished."""
        if self._from is None:
            return
        file = self._from / f"state_{self.accelerator.process_index}.pt"
        device = self.accelerator.device
        # A rank's own "cpu:0" is a place that torch cannot restore to.
        where = "cpu" if device.type == "cpu" else device
        kept = torch.load(file, map_location=where, weights_only=False)
        self._from = None
        self._put_back(kept)
        self._initial_global_step = 0
        if left := kept["left"]:
            self.model.train()
            for flag, value in left["flags"].items():
                setattr(self.control, flag, value)
            self._maybe_log_save_evaluate(
                self._tr_loss, left["grad_norm"], self.model, None, left["epoch"], None,
                time.time(), learning_rate=left["learning_rate"],
            )  # fmt: skip

    def _maybe_log_save_evaluate(
        self,
        tr_loss: torch.Tensor,
        grad_norm: Any,
        model: Any,
        trial: Any,
        epoch: float,
        *args: Any,
        learning_rate: float | None = None,
        **kwargs: Any,
    ) -> None:
        """The end of a step: from here on it can be gone back to."""
        ending = self._agree_on_saving()
        self._last_end = self._kept(
            {
                "flags": {flag: getattr(self.control, flag) for flag in FLAGS},
                "grad_norm": float(grad_norm) if grad_norm is not None else None,
                "learning_rate": learning_rate,
                "epoch": epoch,
            }
        )
        if self.accelerator.num_processes == 1:
            interruptions.release()
        super()._maybe_log_save_evaluate(
            tr_loss, grad_norm, model, trial, epoch, *args, learning_rate=learning_rate, **kwargs
        )
        if ending:
            interruptions.release()
            raise interruptions.Terminated("another process of the run was told to end")

    def _agree_on_saving(self) -> bool:
        """Ask for a checkpoint where one is due; whether one of several ranks was told to end."""
        interval = 60 * (self.save_minutes or float("inf"))
        interval = max(interval, self._save_seconds / SHARE_OF_TIME)
        due = time.monotonic() - self._saved_at > interval and self.is_world_process_zero()
        ending = interruptions.came() and self.accelerator.num_processes > 1
        if self.accelerator.num_processes > 1:
            votes = torch.tensor([due, ending], dtype=torch.int32, device=self.accelerator.device)
            torch.distributed.all_reduce(votes, torch.distributed.ReduceOp.MAX)
            due, ending = map(bool, votes.tolist())
        self.control.should_save |= due or ending
        return ending

    def _kept(self, left: dict[str, Any] | None) -> dict[str, Any]:
        """All that decides how training goes on, but for weights and optimizer. `left` is what the
        step has still to do."""
        health = None if self.health is None else {**vars(self.health), "_history": None}
        return {
            "left": left,
            "tr_loss": float(self._tr_loss),
            "logged": len(self.state.log_history),
            "state": {name: getattr(self.state, name) for name in OF_STATE},
            "buffer": getattr(self, BUFFER),
            "numbers": {name: getattr(self, name) for name in NUMBERS},
            "containers": {name: _plain(getattr(self, name)) for name in CONTAINERS},
            "draws": self.draws.get_state(),
            "health": pickle.dumps(health),
            "random": _random_state(),
        }

    def _put_back(self, kept: dict[str, Any]) -> None:
        self._last_end = kept
        self._tr_loss = torch.tensor(kept["tr_loss"], device=self.accelerator.device)
        del self.state.log_history[kept["logged"] :]
        for name, value in kept["state"].items():
            setattr(self.state, name, value)
        setattr(self, BUFFER, kept["buffer"])
        for name, value in kept["numbers"].items():
            setattr(self, name, value)
        for name, value in kept["containers"].items():
            _refill(getattr(self, name), value)
        if self.health is not None:
            vars(self.health).update(pickle.loads(kept["health"]))
        self.draws.set_state(kept["draws"].cpu())
        _set_random_state(kept["random"])

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._into or super()._get_output_dir(trial))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Writes aside and renames; each machine, where they share no disk, its own part."""
        started = time.monotonic()
        folder = Path(self.args.output_dir)
        if self.accelerator.is_local_main_process:
            checkpoints.aside(folder)
        self.accelerator.wait_for_everyone()
        self._into = folder / checkpoints.ASIDE
        written = self._into / f"checkpoint-{self.state.global_step}"
        try:
            super()._save_checkpoint(model, trial)
            file = written / f"state_{self.accelerator.process_index}.pt"
            torch.save(self._kept(self._left), file)
            self.accelerator.wait_for_everyone()
            if self.is_world_process_zero():
                checkpoints.publish(written, folder)
            self.accelerator.wait_for_everyone()
            if self.accelerator.is_local_main_process and written.exists():
                checkpoints.publish(written, folder)
        except OSError:  # a full disk: leave room to say so
            shutil.rmtree(self._into, ignore_errors=True)
            raise
        finally:
            self._into = None
        self._saved_at = time.monotonic()
        self._save_seconds = self._saved_at - started


def _plain(value: Any) -> Any:
    """A copy in dictionaries and lists; TRL's defaultdicts hold functions."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return list(value)


def _refill(container: Any, content: Any) -> None:
    """Give TRL's own containers the content that `_plain` copied."""
    if isinstance(content, list):
        container.clear()
        container.extend(content)
        return
    if isinstance(container, defaultdict):
        container.clear()
    for key, value in content.items():
        _refill(container[key], value)


def _random_state() -> dict[str, Any]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
        "cuda": cuda,
    }


def _set_random_state(state: dict[str, Any]) -> None:
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"].cpu())
    for device, cuda in enumerate(state["cuda"]):
        torch.cuda.set_rng_state(cuda.cpu(), device)
