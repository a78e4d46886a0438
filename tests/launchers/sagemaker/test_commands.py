"""`rlvr jobs` on a finished and on a running sweep, with its manifest and without."""

import pytest
from sagemaker_emulator.marks import EMULATED

from rlvr.errors import UserError

pytest_plugins = ["sagemaker_emulator.testing"]
pytestmark = [*EMULATED, pytest.mark.slow]


def test_a_finished_sweep(cloud, emulator, jobs, tmp_path):
    output = cloud.run("shots=0,2", "launcher.warm_pool=3600")
    assert "cost: $0.00 for all attempts of 2 jobs" in output
    assert not [job for job in emulator.jobs.values() if job.warm], "given back at once"
    names = [request["TrainingJobName"] for request in emulator.requests]

    for action in ("list", "status"):
        text = jobs(action, "last")
        assert all(name in text for name in names)
        assert text.count("Completed") == 2
        assert "finished" in text
    assert "total: $0.00 for 2 of 2 jobs" in jobs("cost", cloud.sweep())
    assert "step 3" in jobs("logs", "--job", 1)
    assert "has ended with exit code 0" in jobs("logs", "-f", "--job", 0)
    for job in emulator.jobs.values():
        job.keep_alive, job.released = 3600, None  # as after a controller that died
    assert jobs("stop", "-y").count("its warm instance is given back") == 2
    assert jobs("stop", "-y") == "no job is running, no instance is kept warm\n"

    (cloud.sweep() / "0" / "result.json").unlink()
    jobs("collect")
    assert cloud.result(0)["shots"] == 0

    sweep_id = cloud.manifest().sweep_id
    assert "not known here: 0 sweeps" in jobs("list", "--remote")
    assert "nothing on SageMaker in us-east-1 but what records here know" in jobs("cleanup", "-y")
    (cloud.sweep() / "sweep.json").unlink()
    lost = jobs("status", sweep_id)
    assert all(name in lost for name in names)
    jobs("collect", sweep_id, "--into", tmp_path / "found")
    assert (tmp_path / "found" / "1" / "model" / "adapter.txt").read_text() == "shots=2"
    with pytest.raises(UserError, match="no SageMaker jobs found"):
        jobs("status", "20200101-000000-dead")
    stray = f"sweep {sweep_id}: 2 training jobs, 0 running, 0 instances kept warm, $0.00"
    assert stray in jobs("list", "--remote")

    for what in ([], [sweep_id]):
        with pytest.raises(UserError, match="add -y"):
            jobs("cleanup", *what)
    assert {"code", "drivers", "sweeps"} == kinds(emulator), "shown, and not deleted"
    shown = jobs("cleanup", "-y", "--job", 0, sweep_id)
    assert "/000-" in shown
    assert "/001-" not in shown
    shown = jobs("cleanup", "-y", sweep_id)
    assert f"s3://rlvr-emulated/rlvr/sweeps/{sweep_id}/" in shown
    assert "deleted" in shown
    assert {"code", "drivers"} == kinds(emulator), "they may serve other sweeps"


def kinds(emulator):
    listed = emulator.client("s3").list_objects_v2(Bucket="rlvr-emulated", Prefix="rlvr/")
    return {item["Key"].split("/")[1] for item in listed["Contents"]}


def test_a_running_sweep_can_be_stopped_from_elsewhere(cloud, jobs, monkeypatch, tmp_path):
    process = cloud.start("steps=500", "shots=0,1")
    cloud.wait_steps(2)
    assert "Training" in jobs("status")
    with pytest.raises(UserError, match="2 jobs still run"):
        jobs("cleanup", "-y", "last")
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("RLVR_OUTPUT_DIR", str(tmp_path / "elsewhere"))
        assert "2 training jobs, 2 running" in jobs("list", "--remote")
    assert "#1 is stopping" in jobs("stop", "-y", "--job", 1)
    cloud.wait(lambda found: found[1].state == "killed")
    assert cloud.manifest().jobs[0].state == "running"
    jobs("stop", "-y")
    output, _ = process.communicate(timeout=240)
    assert "was stopped" in output
    assert cloud.states() == ["killed", "killed"]


def test_without_any_sweep(jobs):
    with pytest.raises(UserError, match="no sweep"):
        jobs("status")
