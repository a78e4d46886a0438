"""train.py itself through the emulator."""

import json
from pathlib import Path

import pytest
from sagemaker_emulator import BUCKET, ROLE
from sagemaker_emulator.marks import EMULATED

pytest_plugins = ["sagemaker_emulator.testing"]
pytestmark = EMULATED


TRAIN = Path(__file__).parents[3] / "train.py"


@pytest.mark.timeout(1200)
def test_train_py_gives_the_same_numbers_here_and_there(cloud, emulator, saved_model):
    """Real GRPO on the embedded data; the model's folder travels as a channel. The second learning
    rate finds in S3 what the base model has answered to the first."""
    common = [
        *(
            "experiment=debug",
            f"model.path={saved_model}",
            "tracking=none",
            "eval.n=8",
            "rewards=random",
        ),
        *("trainer.max_completion_length=16", "trainer.preflight=off"),
        "hydra.sweep.dir=${output_dir}/sweeps/NAME",
    ]
    aws = (f"launcher.role={ROLE}", f"launcher.bucket={BUCKET}", "launcher.poll_seconds=0.5")
    one, two = "trainer.learning_rate=1e-5", "trainer.learning_rate=1e-5,1e-3"
    numbers = []
    for name, extra in (("local", (one,)), ("sagemaker", (*aws, two, "launcher.n_jobs=1"))):
        arguments = [argument.replace("NAME", name) for argument in common]
        cloud.run(f"launcher={name}", *arguments, *extra, script=TRAIN, timeout=500)
        job = cloud.outputs / "sweeps" / name / "0"
        result = json.loads((job / "result.json").read_text())
        assert result["status"] == "finished"
        assert (job / "model" / "model.safetensors").is_file()
        metrics = [json.loads(line) for line in (job / "metrics.jsonl").read_text().splitlines()]
        rewards = [m["reward/total"] for m in metrics if "reward/total" in m]
        losses = [m["train/loss"] for m in metrics if "train/loss" in m]
        scores = [result["base"]["accuracy"], result["trained"]["accuracy"], result["metric"]]
        numbers.append((scores, rewards, losses, result["datasets"]))
    assert len(numbers[0][1]) == 2
    assert numbers[0] == numbers[1]
    second = cloud.outputs / "sweeps/sagemaker/1"
    assert json.loads((second / "result.json").read_text())["base"]["accuracy"] == numbers[0][0][0]
    known = [log.read_text().count("8 of 8 answers are known") for log in second.glob("*.log")]
    assert sum(known) == 1, "the base model was not asked again"
    kept = emulator.client("s3").list_objects_v2(Bucket=BUCKET, Prefix="rlvr/evaluations/")
    assert [key["Key"].endswith(".jsonl") for key in kept["Contents"]] == [True]
