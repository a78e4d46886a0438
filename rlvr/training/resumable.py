"""Training that goes on from any moment as if nothing had happened, to the last bit.

transformers saves weights, optimizer, scheduler and random states at the end of a step. What TRL
and we keep in memory between two steps is saved here beside them: the completions still to be used
(`steps_per_generation`, `num_iterations`), sums of metrics not yet logged, and health's windows.

A run that is told to end has no time for the rest of its step. It goes back to the end of the last
one, where weights and optimizer still are, and saves that.
"""

import logging
import pickle
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import broadcast_object_list, gather_object
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rlvr import interruptions
from rlvr.random_states import random_state, set_random_state
from rlvr.training import checkpoints

if TYPE_CHECKING:
    from rlvr.training.trainer import Trainer

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


class Resumption:
    """What a Trainer does so that it can go on: saves by time, when told to end, and at the end.

    `minutes` between two checkpoints, None for those of `save_steps` alone. The trainer's `health`
    is None or an object whose attributes can be pickled; its `_history` is made again from the
    logged metrics.
    """

    def __init__(self, trainer: "Trainer", minutes: float | None) -> None:
        self.trainer = trainer
        self.interval = 60 * (minutes or float("inf"))  # seconds
        self.into: Path | None = None  # where a checkpoint is being written
        self._source: Path | None = None  # the checkpoint whose state is still to be taken
        self._last_end: dict[str, Any] | None = None  # of a step: what `_kept` returned
        self._left: dict[str, Any] | None = None  # of the last step, where it was cut off
        self._saved_at = time.monotonic()
        self._save_seconds = 0.0

    @property
    def several(self) -> bool:
        """Ranks can end only together: one that left alone would keep the others waiting."""
        return self.trainer.accelerator.num_processes > 1

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Around training: a signal makes a checkpoint before it goes on as KeyboardInterrupt."""
        trainer = self.trainer
        self._saved_at = time.monotonic()
        trainer.add_callback(HoldSignals())
        if self.several:
            interruptions.hold()
        try:
            yield
        except KeyboardInterrupt:
            if self._last_end is not None:
                self._put_back(self._last_end)
                self._left = self._last_end["left"]
                trainer._save_checkpoint(trainer.model, None)
                log.info("saved step %d, to go on from", trainer.state.global_step)
            raise
        finally:
            trainer.remove_callback(HoldSignals)
            interruptions.release()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """What a rank does by itself for a long time, such as sampling: a signal cuts it off, and
        then the others end, too, when they have done theirs."""
        if not (self.several and interruptions.held()):
            yield
            return
        told = False
        try:
            interruptions.release()
            yield
            interruptions.hold()
        except KeyboardInterrupt:
            interruptions.hold()
            told = True
        self.end_if_told(told)

    def end_if_told(self, told: bool = False) -> None:
        """Of several ranks any, `told` or by a signal that is held. All of them must ask."""
        if self.several and self._any(told or interruptions.came()):
            interruptions.end("the processes of the run were told to end")

    def _any(self, here: bool) -> bool:
        if here:
            self.trainer.accelerator.set_trigger()
        return bool(self.trainer.accelerator.check_trigger())

    def newest_checkpoint(self) -> Path | None:
        """The newest that is whole, on every machine of the run."""
        accelerator, folder = self.trainer.accelerator, Path(self.trainer.args.output_dir)
        names = [checkpoint.name for checkpoint in checkpoints.newest_first(folder)]
        (names,) = broadcast_object_list([names])
        for name in names:
            is_first = accelerator.is_local_main_process
            problem = checkpoints.damage(folder / name) if is_first else None
            found = [found for found in gather_object([problem]) if found]
            if not found:
                return folder / name
            if accelerator.is_main_process:
                log.warning("%s is not used: %s", folder / name, found[0])
        return None

    def begin(self, checkpoint: str | None, epochs: int, sampler: Any) -> None:
        """Before the first step, `epochs` of which have been trained."""
        self._source = Path(checkpoint) if checkpoint else None
        for _ in range(epochs):  # TRL's sampler draws an order in each epoch, from one generator
            torch.randperm(sampler.num_samples, generator=sampler.generator)

    def go_on(self) -> None:
        """Take the state of the checkpoint, and finish what its step had not finished."""
        if self._source is None:
            return
        trainer, accelerator = self.trainer, self.trainer.accelerator
        file = self._source / f"state_{accelerator.process_index}.pt"
        kept = checkpoints.load(file, accelerator.device)
        self._source = None
        self._put_back(kept)
        trainer._initial_global_step = 0
        if left := kept["left"]:
            trainer.model.train()
            for flag, value in left["flags"].items():
                setattr(trainer.control, flag, value)
            trainer._maybe_log_save_evaluate(
                trainer._tr_loss, left["grad_norm"], trainer.model, None, left["epoch"], None,
                time.time(), learning_rate=left["learning_rate"],
            )  # fmt: skip

    def end_step(self, grad_norm: Any, learning_rate: float | None, epoch: float) -> None:
        """From here on it can be gone back to; its log, evaluation and checkpoint are left."""
        control = self.trainer.control
        control.should_save |= self._any(self._is_due())
        self._last_end = self._kept(
            {
                "flags": {flag: getattr(control, flag) for flag in FLAGS},
                "grad_norm": float(grad_norm) if grad_norm is not None else None,
                "learning_rate": learning_rate,
                "epoch": epoch,
            }
        )
        if self.several:
            self.end_if_told()
        else:
            interruptions.release()

    def _is_due(self) -> bool:
        interval = max(self.interval, self._save_seconds / SHARE_OF_TIME)
        main = self.trainer.accelerator.is_main_process
        return main and time.monotonic() - self._saved_at > interval

    def _kept(self, left: dict[str, Any] | None) -> dict[str, Any]:
        """All that decides how training goes on, but for weights and optimizer. `left` is what the
        step has still to do."""
        trainer = self.trainer
        health = None if trainer.health is None else {**vars(trainer.health), "_history": None}
        return {
            "left": left,
            "tr_loss": float(trainer._tr_loss),
            "logged": len(trainer.state.log_history),
            "state": {name: getattr(trainer.state, name) for name in OF_STATE},
            "buffer": getattr(trainer, BUFFER),
            "numbers": {name: getattr(trainer, name) for name in NUMBERS},
            "containers": {name: _plain(getattr(trainer, name)) for name in CONTAINERS},
            "draws": trainer.draws.get_state(),
            "measured": [*trainer.choice.measured] if trainer.can_share else [],
            "health": pickle.dumps(health),
            "flat": dict(trainer.selection.flat),
            "random": random_state(),
        }

    def _put_back(self, kept: dict[str, Any]) -> None:
        trainer = self.trainer
        self._last_end = kept
        trainer._tr_loss = torch.tensor(kept["tr_loss"], device=trainer.accelerator.device)
        del trainer.state.log_history[kept["logged"] :]
        for name, value in kept["state"].items():
            setattr(trainer.state, name, value)
        setattr(trainer, BUFFER, kept["buffer"])
        for name, value in kept["numbers"].items():
            setattr(trainer, name, value)
        for name, value in kept["containers"].items():
            _refill(getattr(trainer, name), value)
        if trainer.health is not None:
            vars(trainer.health).update(pickle.loads(kept["health"]))
        trainer.selection.flat = dict(kept.get("flat", {}))
        trainer.draws.set_state(kept["draws"].cpu())
        if trainer.can_share:  # so that `auto` chooses after the same step
            trainer.choice.measured = kept.get("measured", [])
        set_random_state(kept["random"])

    def save(self, write: Callable[[], None]) -> None:
        """A checkpoint, `write` and our own part of it, is written aside and renamed; each machine,
        where they share no disk, its own part."""
        trainer, accelerator = self.trainer, self.trainer.accelerator
        started, folder = time.monotonic(), Path(trainer.args.output_dir)
        if accelerator.is_local_main_process:
            checkpoints.aside(folder)
        accelerator.wait_for_everyone()
        self.into = folder / checkpoints.ASIDE
        written = self.into / f"checkpoint-{trainer.state.global_step}"
        try:
            write()
            torch.save(self._kept(self._left), written / f"state_{accelerator.process_index}.pt")
            accelerator.wait_for_everyone()
            if accelerator.is_main_process:
                checkpoints.publish(written, folder)
            accelerator.wait_for_everyone()
            if accelerator.is_local_main_process and written.exists():
                checkpoints.publish(written, folder)
        except OSError:  # a full disk: leave room to say so
            shutil.rmtree(self.into, ignore_errors=True)
            raise
        finally:
            self.into = None
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
