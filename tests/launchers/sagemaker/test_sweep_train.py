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
def test_train_py_gives_the_same_numbers_here_and_there(cloud, saved_model):
    """Real GRPO on the embedded data; the model's folder travels as a channel."""
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
    numbers = []
    for name, extra in (("local", ()), ("sagemaker", aws)):
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
