"""Sweeps that are left and gone on with: here, on another machine, and bit by bit."""

import shutil

import pytest
from sagemaker_emulator.marks import EMULATED

from rlvr import manifest
from rlvr.errors import UserError

pytest_plugins = ["sagemaker_emulator.testing"]
pytestmark = [*EMULATED, pytest.mark.slow]

QUOTA_OF_ONE = {"ml.m5.xlarge": 1}


def ended(emulator, number):
    """Wait until so many jobs have been made and none runs."""
    assert len(emulator.jobs) == number
    for job in emulator.jobs.values():
        assert job.wait(240).status == "Completed"


def test_a_detached_sweep_is_watched_here_and_bit_by_bit(cloud, emulator, jobs, tmp_path):
    emulator.faults.quotas = QUOTA_OF_ONE
    told = tmp_path / "told"
    notify = f"launcher.notify='cat > {told}'"
    sweep = ("shots=0,1,2", "steps=2", "+launcher.detach=true", f"+{notify}")
    output = cloud.run(*sweep)
    assert "1 jobs run, 2 are still to be submitted" in output
    assert "rlvr jobs watch s3://rlvr-emulated/rlvr/sweeps/" in output
    assert cloud.states() == ["running", "pending", "pending"]
    assert "To run what is missing" not in output, "the sweep has not ended"

    ended(emulator, 1)
    jobs("collect")
    assert cloud.states() == ["finished", "pending", "pending"]
    assert len(emulator.jobs) == 1, "collecting starts nothing"
    jobs("watch", "--once")
    assert cloud.states() == ["finished", "running", "pending"]
    assert not told.exists()

    jobs("watch")
    assert cloud.states() == ["finished"] * 3
    assert [cloud.result(i)["shots"] for i in range(3)] == [0, 1, 2]
    assert len(emulator.requests) == 3
    assert told.read_text().startswith(f"rlvr {cloud.manifest().name}: 3 finished\n")
    assert (cloud.sweep() / "report.html").is_file()
    assert "every job has ended" in jobs("watch")


def test_another_machine_goes_on_with_it(cloud, emulator, jobs, tmp_path, monkeypatch):
    """It has neither the directory nor the code and configuration that made the requests."""
    emulator.faults.quotas = QUOTA_OF_ONE
    cloud.run("shots=0,1,2", "steps=2", "+launcher.detach=true")
    here = cloud.sweep()
    uri, names = cloud.manifest().cloud["uri"], [cloud.manifest().jobs[0].remote["name"]]
    elsewhere = tmp_path / "elsewhere"
    monkeypatch.setenv("RLVR_OUTPUT_DIR", str(elsewhere))
    shutil.move(here, tmp_path / "closed-laptop")

    said = jobs("watch", uri)
    assert "the sweep is now in" in said
    (there,) = (elsewhere / "sweeps").iterdir()
    record = manifest.load(there)
    assert [job.state for job in record.jobs] == ["finished"] * 3
    assert record.jobs[0].remote["name"] == names[0]
    assert [(there / job.dir / "model/adapter.txt").read_text() for job in record.jobs] == [
        *("shots=0", "shots=1", "shots=2")
    ]
    assert (there / "report.html").is_file()
    assert len(emulator.requests) == 3, "no job was started twice"

    # the first machine knows of none of this: it finds the jobs by their names
    monkeypatch.setenv("RLVR_OUTPUT_DIR", str(cloud.outputs))
    shutil.move(tmp_path / "closed-laptop", here)
    assert cloud.states() == ["running", "pending", "pending"]
    jobs("watch")
    assert cloud.states() == ["finished"] * 3
    assert len(emulator.requests) == 3
    with pytest.raises(UserError, match="has no record of a sweep"):
        jobs("watch", uri.rpartition("/")[0] + "/20200101-000000-dead")
