"""Controllers that are killed or interrupted: every job is stopped, named or found again."""

import re
import signal
import time

import pytest
from sagemaker_emulator.marks import EMULATED

pytest_plugins = ["sagemaker_emulator.testing"]
pytestmark = [*EMULATED, pytest.mark.slow]


@pytest.mark.parametrize("moment", [1.5, 5.0])
def test_a_killed_controller_is_resumed(cloud, emulator, moment):
    process = cloud.start("shots=0,1,2", "steps=6", "seconds=0.3", "launcher.n_jobs=2")
    cloud.wait(lambda jobs: len(jobs) == 3)
    time.sleep(moment)
    process.kill()
    process.wait()

    cloud.run("shots=0,1,2", "steps=6", "launcher.n_jobs=2", "seconds=0.3", "launcher.resume=last")

    assert cloud.states() == ["finished"] * 3
    assert [cloud.result(i)["shots"] for i in range(3)] == [0, 1, 2]
    assert [cloud.steps(i) for i in range(3)] == [[1, 2, 3, 4, 5, 6]] * 3
    assert len(emulator.requests) == 3, "no job was started twice"
    assert not any(job.live for job in emulator.jobs.values())


def test_ctrl_c_stops_and_collects(cloud, emulator):
    process = cloud.start("shots=0,1,2", "steps=500", "launcher.n_jobs=2")
    cloud.wait_steps(2)
    output = cloud.interrupt(process)
    assert cloud.states() == ["killed", "killed", "pending"]
    assert [job.status for job in emulator.jobs.values()] == ["Stopped", "Stopped"]
    assert cloud.result(0)["status"] == "killed"
    assert "launcher.resume=" in output


def test_ctrl_c_twice_leaves_and_names(cloud, emulator):
    emulator.faults.stop_grace = 2.0
    slow = ("do=ignore", "steps=100", "seconds=0.1", "hurry=true", "shots=0,1")
    process = cloud.start(*slow)
    cloud.wait_steps(2)
    process.send_signal(signal.SIGINT)
    while any(job.status == "InProgress" for job in emulator.jobs.values()):
        time.sleep(0.05)
    output = cloud.interrupt(process)
    for name in emulator.created:
        assert (
            f"aws sagemaker stop-training-job --region us-east-1 --training-job-name {name}"
            in output
        )
    cloud.run(*slow, "launcher.resume=last")
    first, second, *again = emulator.jobs.values()
    assert [first.status, second.status] == ["Stopped", "Stopped"], "both had been told to stop"
    assert all(new.created > max(first.ended, second.ended) for new in again)
    assert cloud.states() == ["finished"] * 2
    assert cloud.steps(0) == list(range(1, 101)), "they went on from their checkpoints"
    assert "start number 2\n" in cloud.log(0)
    assert re.search(r"going on after step [1-9]", cloud.log(0))


def test_detached_jobs_are_collected_later(cloud, emulator):
    process = cloud.start("shots=0,1", "steps=20", "launcher.on_interrupt=detach")
    cloud.wait_steps(2)
    output = cloud.interrupt(process)
    assert "these jobs go on without the launcher" in output
    for job in emulator.jobs.values():
        assert job.wait(240).status == "Completed"
    cloud.run("shots=0,1", "steps=20", "launcher.resume=last")
    assert cloud.states() == ["finished", "finished"]
    assert cloud.steps(0) == list(range(1, 21))
    assert len(emulator.requests) == 2
