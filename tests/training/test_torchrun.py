"""How many processes a run gets; the runs themselves are in tests/test_run.py."""

import pytest

from rlvr.training import torchrun


@pytest.mark.parametrize(
    ("overrides", "gpus", "expected"),
    [
        ([], 0, 1),
        ([], 4, 4),
        ([], 3, 2),
        (["trainer.num_processes=2"], 4, 2),
        (["trainer.distributed=none"], 4, 1),
    ],
)
def test_one_process_per_gpu_unless_told_otherwise(
    compose_config, monkeypatch, overrides, gpus, expected
):
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    assert torchrun.processes(compose_config(*overrides)) == expected


def test_only_the_first_process_launches(compose_config, monkeypatch):
    cfg = compose_config()
    assert torchrun.needs_launch(cfg, 2)
    assert not torchrun.needs_launch(cfg, 1)
    assert torchrun.needs_launch(compose_config("trainer.distributed=zero3"), 1)
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert not torchrun.needs_launch(cfg, 2)
