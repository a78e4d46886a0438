"""What a job's pip is told, on whatever machine the sweep is started."""

import importlib.metadata
import sys

import pytest
from packaging.requirements import Requirement

from rlvr.launchers.sagemaker import requirements as module
from rlvr.launchers.sagemaker.requirements import FILE, LOCK, requirements
from rlvr.launchers.sagemaker.settings import SageMakerSettings

IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.9.0-gpu-py312"


def settings(**changes):
    node = {"role": "arn:aws:iam::123456789012:role/x", **changes}
    return SageMakerSettings.read(node, "sagemaker")


def made(*, tracked=False, deepspeed=False, image=IMAGE, **changes):
    return requirements(settings(**changes), tracked=tracked, deepspeed=deepspeed, image=image)


def pins(text):
    lines = [line for line in text.splitlines() if "==" in line]
    return dict(line.split("==") for line in lines)


def test_what_is_installed_here_without_what_jobs_do_not_need():
    files = made(extra_requirements=["a==1"])
    pinned = pins(files[FILE])
    assert pinned["trl"] == importlib.metadata.version("trl")
    assert pinned["a"] == "1"
    assert not {"torch", "sagemaker", "mlflow", "deepspeed"} & set(pinned)
    assert "mlflow" in pins(made(tracked=True)[FILE])
    assert "deepspeed" in pins(made(deepspeed=True)[FILE])


def test_the_whole_lock_is_shipped():
    """numpy, tokenizers and the rest, which a later release would change under us."""
    files = made()
    assert files[FILE].startswith(f"-c {LOCK}\n")
    locked = pins(files[LOCK])
    for name in ("numpy", "tokenizers", "huggingface-hub", "pyarrow"):
        assert locked[name] == importlib.metadata.version(name)
    assert {*pins(files[FILE])} <= {*locked}
    assert not {"torch", "triton", "sagemaker", "setuptools"} & {*locked}
    assert not [name for name in locked if name.startswith("nvidia-cu")], "the image's own"
    for line in files[LOCK].splitlines():
        Requirement(line)


def test_a_mac_starts_jobs_for_linux(monkeypatch):
    """bitsandbytes and DeepSpeed are not there, and markers would say that they are not needed."""
    distribution = importlib.metadata.distribution

    def on_a_mac(name):
        if name in ("bitsandbytes", "deepspeed"):
            raise importlib.metadata.PackageNotFoundError(name)
        return distribution(name)

    monkeypatch.setattr(importlib.metadata, "distribution", on_a_mac)
    monkeypatch.setattr(sys, "platform", "darwin")
    pinned = pins(made(deepspeed=True)[FILE])
    assert {"bitsandbytes", "deepspeed"} <= {*pinned}, "as the project was tested"
    monkeypatch.setattr(module, "_tested_with", dict)
    assert "bitsandbytes>=0.50\n" in made()[FILE], "the project's own bound"


class Installed:
    """A package that no Python before 3.13 can have."""

    version, requires = "9.9+cu130", []
    metadata = {"Requires-Python": ">=3.13"}


@pytest.mark.parametrize(
    ("image", "line"),
    [
        ("x:2.10.0-gpu-py313", "peft==9.9"),
        ("x:2.9.0-gpu-py312", "peft==0.21.2"),
        ("x:1", "peft==9.9"),
    ],
)
def test_a_version_that_the_images_python_cannot_have_is_not_asked_for(monkeypatch, image, line):
    distribution = importlib.metadata.distribution
    monkeypatch.setattr(
        importlib.metadata,
        "distribution",
        lambda name: Installed() if name == "peft" else distribution(name),
    )
    assert line in made(image=image)[FILE].splitlines()


def test_ones_own_or_none(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("b==2\n")
    assert made(requirements=str(file)) == {FILE: "b==2\n"}
    assert made(requirements=None) == {}
