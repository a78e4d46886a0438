"""How many processes a run gets; the runs themselves are in tests/test_run.py."""

import json
import os
from pathlib import Path

import pytest

from rlvr.errors import UserError
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


def test_machines_share_a_run_evenly(compose_config, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.setenv("RLVR_HOSTS", "a,b")
    assert torchrun.processes(compose_config()) == 8
    assert torchrun.processes(compose_config("trainer.num_processes=2")) == 2
    with pytest.raises(UserError, match="multiple of 2"):
        torchrun.processes(compose_config("trainer.num_processes=3"))


@pytest.mark.parametrize("strategy", ["zero2", "zero3", "fsdp2", "ddp"])
def test_ranks_learn_the_strategy_from_their_environment(
    compose_config, monkeypatch, tmp_path, strategy
):
    given = {}

    class Recorded:
        def __init__(self, command, env, process_group):
            given.update(env, command=command, group=process_group)

        wait = lambda self: 0  # noqa: E731

    monkeypatch.setattr(torchrun.subprocess, "Popen", Recorded)
    monkeypatch.setenv("RLVR_HOSTS", "a,b")
    monkeypatch.setenv("RLVR_HOST", "1")
    cfg = compose_config(f"trainer.distributed={strategy}", "trainer.num_processes=4")
    assert torchrun.launch(cfg, tmp_path, 4) == 0
    assert given["RLVR_PARENT_PID"] == str(os.getpid()), "torchrun ends with its launcher"
    assert given["group"] == 0, "a terminal's Ctrl-C reaches the ranks once"
    words = " ".join(given["command"])
    assert (
        "--nnodes 2 --node-rank 1 --master-addr a --master-port 29541 --nproc-per-node 2" in words
    )
    if strategy.startswith("zero"):
        settings = json.loads(Path(given["ACCELERATE_DEEPSPEED_CONFIG_FILE"]).read_text())
        assert settings["zero_optimization"]["stage"] == int(strategy[-1])
    assert (given.get("FSDP_VERSION") == "2") == (strategy == "fsdp2")
