"""`rlvr check ... -m`: a whole sweep looked at, and nothing started or written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlvr import config, preview
from rlvr.cli import main

ROOT = Path(__file__).resolve().parents[1]
SMALL = ("dataset.loader.train_size=40", "dataset.loader.test_size=8")


@pytest.fixture
def previewed(capsys, monkeypatch):
    """The exit code, what is printed and what is refused, at 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    preview._recorded.cache_clear()

    def run(*overrides):
        code = main(["check", *overrides])
        shown = capsys.readouterr()
        assert all(len(line) <= 80 for line in shown.out.splitlines())
        return code, shown.out, shown.err

    return run


def test_a_row_a_job_with_its_short_name(previewed):
    code, out, err = previewed("experiment=quickstart", *SMALL, "-m")
    assert (code, len(err.splitlines())) == (0, 1)  # what it does
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[:5] == [
        "job what differs steps rollouts memory",
        "#0 shots=2 lr=3e-4 40 5120 6 MB",
        "#1 shots=2 lr=2e-3 40 5120 6 MB",
        "#2 shots=4 lr=3e-4 40 5120 6 MB",
        "#3 shots=4 lr=2e-3 40 5120 6 MB",
    ]
    assert "time: not known, no finished run of the kind is recorded on this machine" in lines
    assert lines[-1] == "All 4 jobs passed."


def test_each_problem_is_told_once_with_its_jobs(previewed):
    swept = ("shots=2,99", "trainer.num_generations=8,5")
    code, out, err = previewed("experiment=debug", *SMALL, *swept, "-m")
    assert code == 1
    assert "#0  shots=2 num_generations=8" in out
    assert "3 of 4 jobs cannot run" in err
    assert err.count("does not hold whole groups") == err.count("word_problems.jsonl has 8") == 1
    assert "job #1 shots=2 num_generations=5; #3 shots=99 num_generations=5\n" in err


def test_sagemaker_jobs_have_their_price_and_their_settings_are_checked(previewed, monkeypatch):
    monkeypatch.delenv("AWS_REGION", raising=False)
    cloud = ("launcher=sagemaker", "launcher.role=arn:aws:iam::123456789012:role/r")
    code, out, _ = previewed("experiment=debug", *SMALL, *cloud, "-m", "shots=0")
    assert code == 0
    assert "cost: not known; set launcher.region" in out, "another region's prices are not its own"
    cloud = (*cloud, "launcher.region=us-east-1")
    types = "launcher.instance_type=auto,ml.g5.xlarge"
    code, out, _ = previewed("experiment=debug", *SMALL, *cloud, types, "-m", "shots=0")
    assert code == 0
    assert "ml.g6.2xlarge  <= $6.15" in out
    assert "ml.g5.xlarge  <= $7.09" in out
    assert "launcher.max_runtime" in out
    spot = (
        "launcher=sagemaker",
        "launcher.role=arn:aws:iam::123456789012:role/r",
        "launcher.spot=true",
        "shots=0,2",
        "trainer.save_minutes=null",
    )
    code, _, err = previewed("-m", "experiment=debug", *SMALL, *spot)
    assert code == 1
    assert err.count("launcher.spot=true needs checkpoints") == 1
    code, _, err = previewed("-m", "experiment=debug", *SMALL, "launcher=slurm", "+launcher.spot=1")
    assert "launcher.spot is not a setting of the slurm launcher" in err


def test_rewards_that_pay_no_gold_are_refused(previewed):
    bad = "rewards.correctness.weight=1,-1"
    code, _, err = previewed("experiment=debug", *SMALL, bad, "-m")
    assert code == 1
    assert "1 of 2 jobs cannot run" in err
    assert "pre-flight" in err


def test_options_of_another_folder_and_sweepers_that_wait_for_results(previewed, tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment/mine.yaml").write_text(
        "# @package _global_\ndefaults: [debug, _self_]\n"
        "hydra: {sweeper: {params: {shots: '0,2,4'}}}\n"
    )
    code, out, _ = previewed("-m", "experiment=mine", *SMALL, "--config-dir", str(tmp_path))
    assert code == 0
    assert "All 3 jobs passed." in out
    code, _, err = previewed("-m", "experiment=debug", "hydra/sweeper=rlvr_optuna")
    assert "proposes each job from the results of earlier ones" in err


def test_time_is_that_of_recorded_runs_of_the_kind(previewed, compose_config, tmp_path):
    run = tmp_path / "outputs/runs/1"
    run.mkdir(parents=True)
    cfg = compose_config("experiment=debug", *SMALL)
    (run / "config.yaml").write_text(config.to_yaml(cfg))
    score = {"n": 8}
    result = {"status": "finished", "seconds": 96.0, "base": score, "trained": score}
    result["datasets"] = {"train": {"n": 36}}
    (run / "result.json").write_text(json.dumps(result))
    (run.parent / "2").mkdir()
    (run.parent / "2/result.json").write_text("{")
    _, out, _ = previewed("experiment=debug", *SMALL, "trainer.max_steps=2,4", "-m")
    assert "~1m 36s" in out, "2 x 16 + 2 x 8 completions, 2 s each"
    assert "~2m 40s" in out, "4 x 16 + 2 x 8"
    assert "4m 16s for all" in out


def test_nothing_is_written_and_no_torch_is_loaded(tmp_path):
    overrides = ["experiment=debug", *SMALL, "shots=0,2", "-m"]
    code = (
        "import sys; from rlvr.cli import main\n"
        f"code = main(['check', *{overrides}])\n"
        "print('loaded', code, [n for n in ('torch', 'transformers', 'trl') if n in sys.modules])"
    )
    env = os.environ | {"RLVR_OUTPUT_DIR": str(tmp_path / "out")}
    shown = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT, env=env)
    assert "loaded 0 []" in shown
    assert not (tmp_path / "out").exists()
