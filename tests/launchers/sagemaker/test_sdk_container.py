"""What the real SDK makes for the container, and how often it is asked."""

import importlib.metadata
import json

import pytest

from rlvr.errors import UserError
from rlvr.launchers.sagemaker import sdk_container
from rlvr.launchers.sagemaker.sdk_container import resolve_image
from rlvr.launchers.sagemaker.service import Service
from rlvr.launchers.sagemaker.settings import SageMakerSettings

ROLE = "arn:aws:iam::123456789012:role/x"


@pytest.fixture
def container(aws):
    def make(**settings):
        read = SageMakerSettings.read({"role": ROLE, **settings}, "sagemaker")
        service = Service.connect("us-east-1")
        return sdk_container.container(service, "bucket", read, "ml.g6.2xlarge")

    return make


def test_its_script_ends_in_our_bootstrap(container):
    made = container()
    assert made.algorithm["ContainerEntrypoint"] == ["/bin/bash"]
    assert "sm_train.sh" in made.algorithm["ContainerArguments"][-1]
    assert "/pytorch" in made.algorithm["TrainingImage"]
    script = made.drivers["sm_train.sh"]
    assert "exec $SM_PYTHON_CMD -m rlvr.launchers.sagemaker.bootstrap" in script
    assert "tar -xzf code.tar.gz" in script
    assert "install_requirements.py requirements.txt" in script
    assert json.loads(made.drivers["sourcecode.json"])["requirements"] == "requirements.txt"


def test_only_what_it_depends_on_asks_the_sdk_again(container, monkeypatch):
    first = container()
    monkeypatch.setattr(sdk_container, "from_sdk", None)
    assert container(n_jobs=3, spot=True, max_runtime=60, warm_pool=0, retries=9) == first
    with pytest.raises(TypeError, match="NoneType"):
        container(image="mine:1")


def test_the_sdk_leaves_nothing_in_the_account(container, storage, monkeypatch, tmp_path):
    """It would make buckets, ours included, and upload the driver files for every job."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    container()
    storage.client.delete_bucket(Bucket="bucket")
    container(image="mine:2")
    assert storage.client.list_buckets()["Buckets"] == []


@pytest.mark.parametrize(
    ("torch", "image"),
    [
        ("2.9.1", "pytorch-training:2.9.0-gpu-py312"),
        ("2.10.0+cu128", "pytorch-training:2.10.0-gpu-py313"),
        ("2.13.0+cpu", "pytorch:2.13-cu133-amzn2023-sagemaker"),
        ("2.99.0", "pytorch:2.14-cu133-amzn2023-sagemaker"),
        ("2.5.0", "pytorch-training:2.9.0-gpu-py312"),
    ],
)
def test_the_image_is_nearest_to_the_torch_that_is_here(monkeypatch, torch, image):
    version = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: torch if name == "torch" else version(name)
    )
    assert resolve_image("auto", "us-east-1", "ml.g6.xlarge").endswith(f"/{image}")


def test_processors_have_an_image_too():
    assert "cpu" in resolve_image("auto", "us-east-1", "ml.m5.xlarge")


def test_without_an_image_one_is_asked_for():
    with pytest.raises(UserError, match=r"knows no PyTorch image .* launcher\.image=URI"):
        resolve_image("auto", "mars-north-1", "ml.g6.xlarge")


def test_an_image_of_ones_own_is_taken_as_it_is():
    assert resolve_image("mine:1", "us-east-1", "ml.g6.xlarge") == "mine:1"
