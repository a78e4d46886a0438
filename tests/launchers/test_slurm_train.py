"""A real run on two nodes of the fake cluster, which loses them in the middle of the training."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rlvr.manifest import find, load

ROOT = Path(__file__).parents[2]
SMALL = ("experiment=debug", "eval=none", "tracking=none", "dataset.loader.train_size=60")
TRAINER = ("trainer.max_steps=6", "trainer.num_processes=2", "trainer.max_completion_length=24")
TWO_NODES = ("launcher=slurm", "launcher.nodes=2", "launcher.poll_seconds=0.5")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_on_two_nodes_goes_on_after_a_preemption(cluster, tmp_path):
    environment = os.environ | cluster.environment | {"RLVR_OUTPUT_DIR": str(tmp_path)}
    environment["FAKE_SLURM_KILL_WAIT"] = "120"
    command = [sys.executable, str(ROOT / "train.py"), "-m", *SMALL, *TRAINER, *TWO_NODES]
    sweep = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    while len(steps(tmp_path)) < 2:
        assert sweep.poll() is None, sweep.communicate()[0]
        time.sleep(0.5)
    cluster.call("announce", "100_0")
    output, _ = sweep.communicate(timeout=500)

    assert sweep.returncode == 0, output
    assert cluster.ledger("requeue") == ["100_0"]
    assert cluster.ledger("started") == ["100_0", "100_0"]
    job = load(find("last", root=tmp_path / "sweeps")).jobs[0]
    assert job.state == "finished"
    assert steps(tmp_path) == list(range(1, 7)), "no step is missing, none was taken twice"
    attempts = json.loads((job.directory / "attempts.json").read_text())
    assert len(attempts) == 2
    assert (job.directory / "train.log.1").exists(), "the second node has a log of its own"


def steps(outputs: Path) -> list[int]:
    found = list(outputs.glob("sweeps/*/0/metrics.jsonl"))
    records = [json.loads(line) for line in found[0].read_text().splitlines()] if found else []
    return [record["step"] for record in records if "reward/total" in record or "loss" in record]
