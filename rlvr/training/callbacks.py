"""What a training run reports while it runs: metrics, completions, and how far it is."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import (
    PrinterCallback,
    ProgressCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from trl import GRPOTrainer

from rlvr.metric_names import metric_name, worth_tracking
from rlvr.progress import TRAINING, Progress
from rlvr.result import write_atomic
from rlvr.tracking import Tracker

METRICS = "metrics.jsonl"


class TrackerCallback(TrainerCallback):
    """Every log of the trainer goes to `metrics.jsonl`, then to the tracker; each step updates
    `progress.json`. The file comes first, so no tracking server can lose a number."""

    def __init__(self, tracker: Tracker, run_dir: Path, progress: Progress) -> None:
        self.tracker = tracker
        self.run_dir = run_dir
        self.progress = progress
        self.completions = CompletionTables(tracker)
        self.reward: dict[str, float] = {}
        self.seen: set[str] = set()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if state.is_world_process_zero:  # steps after the checkpoint will be trained again
            lines = [_line(entry, entry["step"]) for entry in state.log_history]
            write_atomic(self.run_dir / METRICS, "".join(lines))
        for entry in state.log_history:  # a tracker has most of it, unless the run was killed
            tracked = worth_tracking(_metrics(entry), self.seen)
            self.tracker.log_metrics(tracked, entry["step"])
        self.progress.begin(TRAINING, state.max_steps, state.global_step)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        # TRL writes completions after calling on_log: the next step is the first to see them.
        if state.is_world_process_zero and state.global_step >= self.completions.due:
            self.completions.send_newest(args, state)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if not control.should_log:  # else on_log follows, with this step's reward
            self.progress.update(state.global_step, state.max_steps, **self.reward)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> None:
        if not state.is_world_process_zero or not logs:
            return
        metrics = _metrics(logs)
        with (self.run_dir / METRICS).open("a", encoding="utf-8") as file:
            file.write(_line(logs, state.global_step))
        self.tracker.log_metrics(worth_tracking(metrics, self.seen), state.global_step)
        if "loss" in logs:
            if "reward/total" in metrics:
                self.reward = {"reward": metrics["reward/total"]}
            self.progress.update(state.global_step, state.max_steps, **self.reward)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if state.is_world_process_zero:
            self.completions.send_newest(args, state)


class CompletionTables:
    """Samples of the completions TRL writes as parquet become tables `completions/step_00010`:
    the first, the last, and about twenty in between."""

    TABLES = 20
    ROWS = 16
    PROMPT_TAIL = 400  # characters: the question; the exemplars before it are always the same

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self.sent = 0
        self.due = 0

    def send_newest(self, args: TrainingArguments, state: TrainerState) -> None:
        files = sorted(Path(str(args.output_dir), "completions").glob("completions_*.parquet"))
        if not files or (step := int(files[-1].stem.rpartition("_")[2])) <= self.sent:
            return
        self.tracker.log_table(self._rows(files[-1]), f"completions/step_{step:05d}")
        self.sent = step
        self.due = step + max(1, state.max_steps // self.TABLES)

    def _rows(self, file: Path) -> list[dict[str, Any]]:
        import pyarrow.parquet

        rows = pyarrow.parquet.read_table(file).to_pylist()
        spread = [rows[i * len(rows) // self.ROWS] for i in range(self.ROWS)]
        return [self._shown(row) for row in (spread if len(rows) > self.ROWS else rows)]

    def _shown(self, row: Mapping[str, Any]) -> dict[str, Any]:
        shown = {k: v if _is_number(v) else _text(v) for k, v in row.items()}
        if len(shown["prompt"]) > self.PROMPT_TAIL:
            shown["prompt"] = "... " + shown["prompt"][-self.PROMPT_TAIL :]
        return shown


def silence(trainer: GRPOTrainer) -> None:
    """No second progress bar, no printed dictionaries, no printed tables of completions."""
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    trainer.num_completions_to_print = 0


def _metrics(logs: Mapping[str, Any]) -> dict[str, float]:
    return {metric_name(k): v for k, v in logs.items() if k != "step" and _is_number(v)}


def _line(logs: Mapping[str, Any], step: int) -> str:
    return json.dumps({"step": step, **_metrics(logs)}) + "\n"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _text(value: str | Sequence[Mapping[str, Any]] | None) -> str:
    """A prompt or completion as text, also where it is a list of chat messages."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, list):
        return "\n".join(str(message.get("content", "")) for message in value)
    return str(value)
