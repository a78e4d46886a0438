import pytest

from rlvr.errors import UserError
from rlvr.launchers.local import LocalRunner, visible_gpus


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """nvidia-smi on a machine with two GPUs."""
    script = tmp_path / "nvidia-smi"
    gpus = "GPU 0: NVIDIA H100 (UUID: GPU-1)\\nGPU 1: NVIDIA H100 (UUID: GPU-2)"
    script.write_text(f"#!/bin/sh\nprintf '{gpus}\\n'\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return monkeypatch


def test_gpus_of_the_driver(driver):
    assert visible_gpus() == ["0", "1"]
    runner = LocalRunner()
    runner.prepare({}, jobs=4)
    assert runner.n_jobs == 2, "one job per GPU"
    runner.prepare({"n_jobs": 3}, jobs=4)
    assert [runner.devices(slot)["CUDA_VISIBLE_DEVICES"] for slot in range(3)] == ["0", "1", "0"]
    with pytest.raises(UserError, match="gpus_per_job=3: this machine shows 2 GPUs"):
        runner.prepare({"gpus_per_job": 3}, jobs=4)


@pytest.mark.parametrize(
    ("chosen", "gpus"), [("3", ["3"]), ("GPU-a, MIG-b", ["GPU-a", "MIG-b"]), ("", []), ("-1", [])]
)
def test_the_users_choice_of_gpus(driver, chosen, gpus):
    driver.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert visible_gpus() == gpus


def test_without_a_gpu_one_job_at_a_time(driver, tmp_path):
    (tmp_path / "nvidia-smi").unlink()
    runner = LocalRunner()
    runner.prepare({}, jobs=4)
    assert runner.n_jobs == 1
    assert "CUDA_VISIBLE_DEVICES" not in runner.devices(0)
