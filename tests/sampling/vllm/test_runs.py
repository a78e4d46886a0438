"""Whole runs of train.py with vLLM: each is a process of its own, as a user starts it."""

import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

pytestmark = [pytest.mark.usefixtures("vllm"), pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[3]
ELSEWHERE = "vllm_server elsewhere"
MODES = ("vllm_colocate", "vllm_server", ELSEWHERE)
SMALL = ["experiment=debug", "tracking=none", "eval=greedy", "eval.n=8"]


@pytest.fixture
def train(tmp_path, waited):
    def run(name, *overrides):
        command = [sys.executable, "train.py", *SMALL, f"output_dir={tmp_path}", f"run={name}"]
        surroundings = {**os.environ, "RLVR_OUTPUT_DIR": str(tmp_path)}
        ended = subprocess.run(
            [*command, *overrides], cwd=ROOT, env=surroundings, capture_output=True, text=True
        )
        assert ended.returncode == 0, ended.stderr
        waited(lambda: not servers(tmp_path))
        return tmp_path / "runs" / name

    return run


def servers(folder):
    """Processes whose environment says that they belong to this test."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command, surroundings = (process / "cmdline"), (process / "environ")
            if b"vllm" in command.read_bytes() and bytes(folder) in surroundings.read_bytes():
                found.append(process.name)
        except OSError:
            continue
    return found


def entries(run):
    lines = (run / "metrics.jsonl").read_text("utf-8").splitlines()
    return [entry for entry in map(json.loads, lines) if "train/engine_difference" in entry]


@pytest.mark.parametrize(
    ("mode", "peft"), [*product(MODES, ["none", "lora"]), ("vllm_colocate", "qlora")]
)
def test_training_samples_with_what_it_trains(train, serving, mode, peft):
    """Weights that were not handed over would differ from the second step on."""
    overrides = [f"peft={peft}", "trainer.learning_rate=1e-3", "trainer.warmup_ratio=0"]
    if mode == ELSEWHERE:
        mode = "vllm_server"
        address = serving("-m", "rlvr", "serve", "--port", "0")
        overrides.append(f"trainer.vllm.server={address}")
    run = train(mode, f"trainer.generation={mode}", *overrides)
    result = json.loads((run / "result.json").read_text("utf-8"))
    assert result["engine"] == "vllm"
    assert result["status"] == "finished"
    assert result["trained"]["n"] == 8
    steps = entries(run)
    assert len(steps) == 2
    for step in steps:
        assert step["train/engine_difference"] < 1e-4
        assert step["train/sampling/importance_sampling_ratio/mean"] == pytest.approx(1, abs=1e-3)
        assert step["train/clipped_ratio"] < 0.5
    assert steps[1]["perf/seconds_sync"] > 0


def test_auto_measures_once_and_repeats_its_choice_and_qlora_has_a_way(train):
    overrides = ["peft=qlora", "trainer.max_steps=1"]
    first = train("first", *overrides)
    choice = json.loads((first / "generation.json").read_text("utf-8"))
    assert choice["tokens_per_second"].keys() == {"shared", "vllm_colocate"}
    assert "log-probabilities of" in choice["vllm"]
    assert "trainer.generation=auto: {" in (first / "train.log").read_text("utf-8")
    engine = json.loads((first / "result.json").read_text("utf-8"))["engine"]
    assert choice["chosen"].startswith(engine)
    again = train("again", *overrides)
    assert json.loads((again / "result.json").read_text("utf-8"))["engine"] == engine
    assert json.loads((again / "generation.json").read_text("utf-8")) == choice
