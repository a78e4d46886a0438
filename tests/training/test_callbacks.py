"""Three steps of TRL's own trainer on a tiny model, and what our callback makes of them."""

import io
import json
import math
import re
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import Qwen2Config, Qwen2ForCausalLM
from trl import GRPOConfig, GRPOTrainer

from rlvr.metric_names import UNTRACKED
from rlvr.progress import Progress
from rlvr.tracking import NullTracker
from rlvr.training.callbacks import CompletionTables, TrackerCallback, silence

STEPS = 3


@dataclass
class Recorder(NullTracker):
    """Keeps what it is told, and how much the file held when it was told."""

    file: Path
    metrics: list[tuple[int | None, dict[str, float]]] = field(default_factory=list)
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    lines_before: list[int] = field(default_factory=list)

    def log_metrics(self, metrics, step=None):
        self.lines_before.append(len(self.file.read_text().splitlines()))
        self.metrics.append((step, dict(metrics)))

    def log_table(self, rows, name):
        self.tables[name] = list(rows)

    def values(self, name: str) -> dict[int | None, float]:
        return {step: metrics[name] for step, metrics in self.metrics if name in metrics}


def tiny_model(vocabulary: int) -> Qwen2ForCausalLM:
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=vocabulary,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
    )
    return Qwen2ForCausalLM(config)


def digits(completions: list[str], **_: Any) -> list[float]:
    return [sum(letter.isdigit() for letter in text) / 10 for text in completions]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tokenizer):
    """A finished training run: its directory, what the tracker was told, what was printed."""
    run_dir = tmp_path_factory.mktemp("run")
    questions = [f"Question: {'exemplar ' * 60}{n} + {n}?" for n in range(8)]
    rows = Dataset.from_list([{"prompt": q, "gold": "1"} for q in questions])
    args = GRPOConfig(
        output_dir=str(run_dir / "checkpoints"),
        per_device_train_batch_size=32,
        per_device_eval_batch_size=8,
        num_generations=4,
        num_generations_eval=1,
        max_completion_length=6,
        max_steps=STEPS,
        logging_steps=1,
        eval_strategy="steps",
        eval_steps=2,
        save_strategy="no",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        disable_tqdm=True,
        log_completions=True,
        seed=1,
    )
    recorder = Recorder(run_dir / "metrics.jsonl")
    trainer = GRPOTrainer(
        model=tiny_model(len(tokenizer)),
        reward_funcs=[digits],
        args=args,
        train_dataset=rows,
        eval_dataset=rows,
        processing_class=tokenizer,
        callbacks=[TrackerCallback(recorder, run_dir, Progress(run_dir))],
    )
    silence(trainer)
    printed = io.StringIO()
    with redirect_stdout(printed), redirect_stderr(printed):
        trainer.train()
    return run_dir, recorder, printed.getvalue()


@pytest.mark.parametrize(
    "name",
    [
        "train/loss",
        "train/grad_norm",
        "train/learning_rate",
        "train/entropy",
        "train/zero_std_groups",
        "train/length_mean",
        "train/length_terminated_mean",
        "train/clipped_ratio",
        "reward/total",
        "reward/std",
        "reward/digits",
        "reward/digits_std",
        "perf/step_seconds",
        "perf/tokens",
    ],
)
def test_every_step_has_the_metric(run, name: str):
    assert set(run[1].values(name)) == set(range(1, STEPS + 1))


def test_evaluation_is_kept_apart(run):
    names = {name for _, metrics in run[1].metrics for name in metrics}
    assert {"eval/reward/total", "eval/reward/digits", "eval/length_mean", "eval/loss"} <= names
    assert set(run[1].values("eval/reward/total")) == {2, STEPS}
    assert not [name for name in names if name.startswith(("train/eval", "eval/train"))]


def test_every_name_has_one_of_our_prefixes(run):
    for _, metrics in run[1].metrics:
        assert all(name.split("/")[0] in ("train", "eval", "reward", "perf") for name in metrics)


def test_the_file_has_what_the_tracker_got_and_had_it_first(run):
    run_dir, recorder, _ = run
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    for line, (step, tracked) in zip(lines, recorder.metrics, strict=True):
        assert line.pop("step") == step
        assert tracked.items() <= line.items()
        assert not set(tracked) & UNTRACKED
    assert "train/loss" in recorder.metrics[0][1]
    assert recorder.lines_before == list(range(1, len(lines) + 1))
    assert all(math.isfinite(value) for line in lines for value in line.values())


def test_progress_is_at_the_end(run):
    run_dir, recorder, _ = run
    progress = json.loads((run_dir / "progress.json").read_text())
    assert (progress["phase"], progress["step"], progress["max_steps"]) == (
        "training",
        STEPS,
        STEPS,
    )
    assert progress["ends_at"] is None
    assert progress["reward"] == recorder.values("reward/total")[STEPS]


def test_completions_are_tables_without_the_exemplars(run):
    tables = run[1].tables
    assert sorted(tables) == [f"completions/step_{step:05d}" for step in range(1, STEPS + 1)]
    rows = tables["completions/step_00003"]
    assert len(rows) == CompletionTables.ROWS  # of 32
    assert {"step", "prompt", "completion", "digits", "advantage"} <= set(rows[0])
    assert all(row["prompt"].startswith("... ") for row in rows)
    assert len({row["prompt"] for row in rows}) > 1
    assert all(len(row["prompt"]) <= CompletionTables.PROMPT_TAIL + 4 for row in rows)


def test_nothing_is_printed_but_the_progress(run):
    """transformers would print dictionaries, TRL tables of completions."""
    printed = run[2]
    assert printed
    assert all(re.match(r" +\d+:\d\d  training", line) for line in printed.splitlines())


@dataclass
class State:
    max_steps: int
    is_world_process_zero: bool = True


@dataclass
class Arguments:
    output_dir: str


def test_long_runs_send_about_twenty_tables(tmp_path: Path):
    import pyarrow
    import pyarrow.parquet

    recorder = Recorder(tmp_path / "m")
    tables = CompletionTables(recorder)
    folder = tmp_path / "completions"
    folder.mkdir()
    chat = [{"role": "user", "content": "hello"}]
    row = {"step": 1, "prompt": chat, "completion": chat, "r": None, "advantage": 0.5}
    for step in range(1, 501):
        file = folder / f"completions_{step:05d}.parquet"
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), file)
        if step >= tables.due:
            tables.send_newest(Arguments(str(tmp_path)), State(500))
    tables.send_newest(Arguments(str(tmp_path)), State(500))
    names = sorted(recorder.tables)
    assert 20 <= len(names) <= 22
    assert (names[0], names[-1]) == ("completions/step_00001", "completions/step_00500")
    assert recorder.tables[names[0]][0]["prompt"] == "hello"
    assert recorder.tables[names[0]][0]["r"] == ""
