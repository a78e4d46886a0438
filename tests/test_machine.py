"""Which machine a configuration means, and how much of it a run may have."""

import pytest

from rlvr.machine import GIB, here, instance, planned_for


@pytest.mark.parametrize(
    ("kind", "gpus", "gibibytes"),
    [("ml.g6.2xlarge", 1, 24), ("ml.g6e.12xlarge", 4, 48), ("ml.p5.48xlarge", 8, 80)],
)
def test_gpu_instances_by_their_names(kind, gpus, gibibytes):
    found = instance(kind)
    assert (found.name, found.gpus, found.memory) == (kind, gpus, gibibytes * GIB)
    assert found.holds(0.8 * found.memory)
    assert not found.holds(0.95 * found.memory), "some is CUDA's"


def test_the_memory_of_other_instances_is_not_known():
    assert instance("ml.m5.large").holds(10**15)


def test_runs_at_a_time_share_the_memory_of_a_machine_without_gpus(compose_config, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    alone, half = here(compose_config()), here(compose_config("launcher.n_jobs=2"))
    assert half.memory == alone.memory / 2


def test_a_container_has_its_own_limit(compose_config, monkeypatch, tmp_path):
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    (tmp_path / "memory.max").write_text("1000000\n")
    monkeypatch.setattr("rlvr.machine.CGROUP", tmp_path / "memory.max")
    assert here(compose_config()).memory == 1_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert here(compose_config()).memory > 1_000_000


def test_the_launcher_decides_which_machine(compose_config):
    assert planned_for(compose_config("launcher=sagemaker")).name == "ml.g6.2xlarge"
    four = compose_config("launcher=sagemaker", "trainer.num_processes=4")
    assert planned_for(four).gpus == 4
    assert planned_for(compose_config("launcher=slurm")).memory is None
