"""One real run on CPU: GRPO of a random model, both evaluations, and a truthful result."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from rlvr import config
from rlvr.errors import UserError
from rlvr.result import read
from rlvr.run import run

ROOT = Path(__file__).resolve().parents[1]
SMALL = [
    *(
        "model=tiny",
        "dataset=word_problems",
        "shots=2",
        "tracking=none",
        "eval=sampled",
        "eval.n=6",
        "eval.k=2",
    ),
    *("trainer.max_steps=2", "trainer.batch_size=8", "eval.batch_size=8"),
    "trainer.num_generations=4",
    *("trainer.max_completion_length=16", "trainer.gradient_checkpointing=false"),
]


@pytest.fixture
def small(compose_config):
    def composed(*overrides):
        return compose_config("peft=none", *SMALL, *overrides)

    return composed


def test_a_run_leaves_everything_it_promises(small, tmp_path):
    from transformers import AutoModelForCausalLM

    folder = tmp_path / "run"
    metric = run(small(), folder)
    result = read(folder)
    assert result.status == "finished"
    assert result.metric == metric == result.trained["accuracy"]
    assert result.base["n"] == result.trained["n"] == result.paired["n"] == 6
    assert set(result.base["pass_at_k"]) == {"1", "2"}
    assert result.seconds > 0
    assert set(result.datasets) == {"train", "validation", "test"}
    assert result.versions["trl"] == "1.16.0"
    for phase in ("base", "trained"):
        rows = [
            json.loads(x) for x in (folder / f"evaluations/{phase}.jsonl").read_text().splitlines()
        ]
        assert len(rows) == 6
        assert all(len(row["completion"]) == 2 for row in rows)
    logged = [json.loads(x) for x in (folder / "metrics.jsonl").read_text().splitlines()]
    assert {"reward/total", "reward/format", "reward/correctness"} <= set(logged[0])
    assert OmegaConf.load(folder / "config.yaml").shots == 2
    AutoModelForCausalLM.from_pretrained(folder / "model")


def test_an_adapter_is_saved_that_peft_loads(small, tmp_path):
    from peft import PeftModel

    from rlvr.training.model import load_model

    cfg = small("peft=lora", "rewards=random", "eval=none")
    run(cfg, tmp_path / "run")
    assert (tmp_path / "run/model/adapter_model.safetensors").stat().st_size > 1000
    model = PeftModel.from_pretrained(load_model(cfg), tmp_path / "run/model")
    moved = [p for n, p in model.named_parameters() if "lora_B" in n and p.abs().sum() > 0]
    assert moved, "training must have changed the adapter"


def test_without_evaluations_the_metric_is_the_last_reward(small, tmp_path):
    metric = run(small("eval=none"), tmp_path / "run")
    logged = [json.loads(x) for x in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    rewards = [entry["reward/total"] for entry in logged if "reward/total" in entry]
    assert metric == pytest.approx(rewards[-1])


def test_a_failure_is_recorded_and_raised(compose_config, tmp_path):
    cfg = compose_config("model=tiny", "dataset=jsonl", "dataset.path=.", "tracking=none")
    with pytest.raises(UserError):
        run(cfg, tmp_path / "run")
    result = read(tmp_path / "run")
    assert result.status == "failed"
    assert "train.jsonl" in result.error
    assert "Traceback" in result.traceback


def test_a_model_that_is_nowhere_is_recorded_before_anything_loads(compose_config, tmp_path):
    cfg = compose_config("tracking=none", "model.path=no/such")
    with pytest.raises(UserError, match=r"model\.path=no/such"):
        run(cfg, tmp_path / "run")
    assert read(tmp_path / "run").status == "failed"


def test_the_same_seed_gives_the_same_run(small, tmp_path):
    for name in ("a", "b"):
        run(small("peft=lora"), tmp_path / name)
    a, b = read(tmp_path / "a"), read(tmp_path / "b")
    assert (a.base, a.trained) == (b.base, b.trained)
    rows = [(tmp_path / name / "evaluations/trained.jsonl").read_text() for name in ("a", "b")]
    assert rows[0] == rows[1]


def test_training_goes_on_from_its_last_checkpoint(small, tmp_path, caplog):
    cfg = small("trainer.save_steps=1", "eval=none", "trainer.max_steps=3")
    run(cfg, tmp_path / "run")
    shutil.rmtree(tmp_path / "run/checkpoints/checkpoint-3")  # as if it had died after step 2
    with caplog.at_level("INFO"):
        run(cfg, tmp_path / "run")
    assert "checkpoint-2" in caplog.text
    lines = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines].count(1) == 1


def test_a_directory_of_another_configuration_gives_the_right_numbers(small, tmp_path, caplog):
    """The same folder with other shots: neither its rows nor its checkpoints are taken over."""
    run(small("trainer.save_steps=1"), tmp_path / "used")
    changed = small("trainer.save_steps=1", "shots=1")
    run(changed, tmp_path / "used")
    assert "was used with another configuration: moved to old-1/" in caplog.text
    assert "going on from" not in caplog.text
    assert (tmp_path / "used/old-1/result.json").exists()
    run(changed, tmp_path / "fresh")
    used, fresh = read(tmp_path / "used"), read(tmp_path / "fresh")
    assert (used.base, used.trained) == (fresh.base, fresh.trained)


def test_a_second_learning_rate_costs_no_second_base_evaluation(small, tmp_path, monkeypatch):
    monkeypatch.setenv("RLVR_OUTPUT_DIR", str(tmp_path))
    run(small(), tmp_path / "a")
    written = {f: f.stat().st_mtime_ns for f in (tmp_path / "evaluations").rglob("*.jsonl")}
    assert written
    run(small("trainer.learning_rate=1e-3", "eval.after=false"), tmp_path / "b")
    again = {f: f.stat().st_mtime_ns for f in (tmp_path / "evaluations").rglob("*.jsonl")}
    assert again == written
    assert read(tmp_path / "a").base == read(tmp_path / "b").base


def test_benchmarks_are_evaluated_before_and_after(small, tmp_path):
    rows = [{"problem": f"Anna has {n} eggs. She buys 2 more. How many?", "answer": n + 2}
            for n in range(2, 8)]  # fmt: skip
    (tmp_path / "eggs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    cfg = small("benchmark=jsonl", f"eval.benchmarks.jsonl.path={tmp_path}/eggs.jsonl",
                "eval.benchmarks.jsonl.loader.question=problem", "eval.k=1")  # fmt: skip
    run(cfg, tmp_path / "run")
    found = read(tmp_path / "run").benchmarks["jsonl"]
    assert found["base"]["n"] == found["trained"]["n"] == found["paired"]["n"] == 6
    lines = (tmp_path / "run/evaluations/trained.jsonl.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["gold"] == "4"


def job(folder, cfg):
    folder.mkdir()
    (folder / "config.yaml").write_text(config.to_yaml(cfg))
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "rlvr.worker", str(folder)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


NEEDS_COMPILER = pytest.mark.skipif(
    not shutil.which("g++"), reason="DeepSpeed compiles its CPU communication with g++"
)


def first_step(folder):
    """Completions, and metrics but times, of the first step."""
    import pyarrow.parquet

    table = folder / "checkpoints/completions/completions_00001.parquet"
    record = json.loads((folder / "metrics.jsonl").read_text().splitlines()[0])
    values = {k: pytest.approx(v, abs=1e-4) for k, v in record.items() if "perf/" not in k}
    return pyarrow.parquet.read_table(table).to_pylist(), values


@pytest.mark.slow
@pytest.mark.timeout(600)  # the first ZeRO-3 run on a machine compiles for a minute or two
@pytest.mark.parametrize(
    "strategy", ["ddp", *(pytest.param(z, marks=NEEDS_COMPILER) for z in ("zero2", "zero3"))]
)
def test_two_processes_train_one_model(small, tmp_path, strategy, monkeypatch):
    cfg = small("trainer.num_processes=2", f"trainer.distributed={strategy}", "eval.k=1")
    process = job(tmp_path / "run", cfg)
    output, _ = process.communicate(timeout=580)
    assert process.returncode == 0, output.decode()[-3000:]
    result = read(tmp_path / "run")
    assert result.status == "finished"
    assert result.base["n"] == 6
    rows = (tmp_path / "run/evaluations/base.jsonl").read_text().splitlines()
    assert len(rows) == 6, "one file, whoever answered"
    alone = small("eval.k=1", "eval.after=false", "trainer.max_steps=1")
    monkeypatch.setenv("RLVR_OUTPUT_DIR", str(tmp_path / "elsewhere"))
    run(alone, tmp_path / "alone")
    assert (tmp_path / "alone/evaluations/base.jsonl").read_text().splitlines() == rows
    first = [first_step(tmp_path / name) for name in ("run", "alone")]
    assert first[0] == first[1], "the same batch, whoever samples it"
    assert (tmp_path / "run/model/model.safetensors").stat().st_size > 100_000


@pytest.mark.slow
def test_sigterm_leaves_a_killed_result(small, tmp_path):
    process = job(tmp_path / "run", small("trainer.max_steps=500", "eval=none"))
    progress = tmp_path / "run/progress.json"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if progress.exists() and json.loads(progress.read_text())["phase"] == "training":
            break
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert read(tmp_path / "run").status == "killed"
