"""A real run through the emulator."""

import json
import shutil

import pytest
from sagemaker_emulator import BUCKET, ROLE
from sagemaker_emulator.marks import EMULATED

from rlvr.paths import ASSETS, PROJECT, output_dir

pytest_plugins = ["sagemaker_emulator.testing"]
pytestmark = EMULATED


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_train_py_gives_the_same_numbers_here_and_there(cloud, emulator, compose_config, tmp_path):
    """Real GRPO on the embedded data; the model's folder travels as a channel, and what the base
    model answers lands where other jobs look for it."""
    from rlvr.run import run

    shutil.copytree(ASSETS / "tiny", tmp_path / "model")
    overrides = [
        *("experiment=debug", f"model.path={tmp_path / 'model'}", "tracking=none", "eval.n=8"),
        *("rewards=random", "trainer.max_completion_length=16", "trainer.preflight=off"),
    ]
    run(compose_config(*overrides), tmp_path / "here")
    aws = (f"launcher.role={ROLE}", f"launcher.bucket={BUCKET}", "launcher.poll_seconds=0.5")
    cloud.run(
        *("launcher=sagemaker", *overrides, *aws, "hydra.sweep.dir=${output_dir}/there"),
        script=PROJECT / "train.py",
        timeout=500,
    )
    here, there = (numbers(folder) for folder in (tmp_path / "here", cloud.outputs / "there/0"))
    assert len(here["rewards"]) == 2
    assert here == there
    own = {file.name for file in (output_dir() / "evaluations").glob("*/*.jsonl")}
    listed = emulator.client("s3").list_objects_v2(Bucket=BUCKET, Prefix="rlvr/evaluations/")
    shared = {item["Key"].rpartition("/")[2] for item in listed["Contents"]}
    assert len(shared) == 1
    assert shared <= own, "the same questions, asked the same way, have the same name"


def numbers(run_dir):
    result = json.loads((run_dir / "result.json").read_text())
    assert result["status"] == "finished"
    assert (run_dir / "model" / "model.safetensors").is_file()
    logged = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return {
        "rewards": [m["reward/total"] for m in logged if "reward/total" in m],
        "losses": [m["train/loss"] for m in logged if "train/loss" in m],
        **{key: result[key] for key in ("base", "trained", "metric", "datasets")},
    }
