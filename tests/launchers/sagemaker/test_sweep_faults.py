"""A service that is full, slow or broken: nothing is lost, doubled or orphaned."""

import json
import threading
from dataclasses import replace

import pytest
from sagemaker_emulator.marks import EMULATED

pytest_plugins = ["sagemaker_emulator.testing"]
pytestmark = [*EMULATED, pytest.mark.slow]


def test_full_busy_and_late(cloud, emulator):
    """Quota of two, every second call throttled, late logs: slower, but nothing else."""
    emulator.faults.quotas = {"ml.m5.xlarge": 2}
    emulator.faults.throttle = {"*": 2}
    emulator.faults.log_delay = 1.0
    most = watch_most_live(emulator)
    output = cloud.run("shots=range(4)", "steps=4", "seconds=0.3")
    assert cloud.states() == ["finished"] * 4
    assert most() == 2
    assert len(emulator.requests) == 4
    assert "waiting to submit" in output
    assert all("has ended with exit code 0" in cloud.log(i) for i in range(4))


def watch_most_live(emulator):
    seen, stop = [0], threading.Event()

    def watch():
        while not stop.wait(0.02):
            seen.append(sum(job.live for job in emulator.jobs.values()))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()

    def most():
        stop.set()
        thread.join()
        return max(seen)

    return most


def test_no_capacity_is_tried_again_elsewhere(cloud, emulator):
    """At the next instance type, in the next region, and then on demand."""
    here, there = "us-east-1", "eu-west-1"
    emulator.client("s3").create_bucket(Bucket=f"elsewhere-{here}")
    emulator.client("s3", there).create_bucket(
        Bucket=f"elsewhere-{there}", CreateBucketConfiguration={"LocationConstraint": there}
    )
    emulator.faults.capacity_errors = 4
    output = cloud.run(
        *("launcher.spot=true", "launcher.max_wait=2000", "+launcher.on_demand_fallback=true"),
        *(f"+launcher.regions=[{there}]", "launcher.bucket='elsewhere-{region}'"),
        "launcher.fallback_instance_types=[ml.c5.xlarge]",
    )
    assert cloud.states() == ["finished"]
    job = cloud.manifest().jobs[0]
    tried = [(a["region"], a["instance_type"], a["spot"]) for a in [*job.attempts, job.remote]]
    assert tried == [
        (here, "ml.m5.xlarge", True),
        (here, "ml.c5.xlarge", True),
        (there, "ml.m5.xlarge", True),
        (there, "ml.c5.xlarge", True),
        (here, "ml.m5.xlarge", False),
    ]
    assert all(attempt["retry"].startswith("CapacityError") for attempt in job.attempts)
    assert [name[-2:] for name in emulator.created] == ["-1", "-2", "-3", "-4", "-5"]
    assert "submitted again, on ml.c5.xlarge spot in eu-west-1: CapacityError" in output


def test_no_capacity_has_an_end(cloud, emulator):
    emulator.faults.capacity_errors = -1
    cloud.run("launcher.retries=1", code=1)
    assert cloud.manifest().jobs[0].error.startswith("CapacityError")
    assert len(emulator.requests) == 2


def test_a_lost_answer_starts_no_second_job(cloud, emulator):
    """The request was carried out, but the answers to it and to six retries never came."""
    emulator.faults.lost_answers = 7
    output = cloud.run("shots=4")
    assert "waiting to submit #0: InternalFailure" in output
    assert cloud.states() == ["finished"]
    assert len(emulator.requests) == 1
    assert cloud.manifest().jobs[0].remote["name"] == emulator.created[0]


def test_uploads_that_fail_start_nothing(cloud, emulator):
    emulator.faults.deny_puts = True
    sweep = ("shots=0,1", "+launcher.prefix=nothing-there-yet")
    output = cloud.run(*sweep, code=1)
    assert "AccessDenied" in output
    assert "no job was started" in output
    assert "Traceback" not in output
    assert not emulator.jobs

    emulator.faults.deny_puts = False
    emulator.faults.fail_puts = 2  # the SDK's own retries are enough
    cloud.run(*sweep, "launcher.resume=last")
    assert cloud.states() == ["finished", "finished"]


def test_two_users_in_the_same_second(cloud, emulator):
    first, second = cloud.start("shots=0,1"), cloud.start("shots=2,3")
    for process in (first, second):
        output, _ = process.communicate(timeout=240)
        assert process.returncode == 0, output
    assert len(set(emulator.created)) == 4
    folders = sorted((cloud.outputs / "sweeps").iterdir())
    values = [
        json.loads((f / job / "result.json").read_text())["shots"]
        for f in folders
        for job in ("0", "1")
    ]
    assert sorted(values) == [0, 1, 2, 3]


def test_empty_log_pages_a_wrong_clock_and_a_busy_store(cloud, emulator):
    """The whole log is there, no cost is below zero, and nothing runs twice."""
    emulator.faults.empty_pages = 2
    emulator.faults.clock_skew = 600.0
    emulator.faults.fail_gets = 3
    cloud.run("shots=0,1", "steps=3")
    assert cloud.states() == ["finished", "finished"]
    assert len(emulator.requests) == 2
    for index in (0, 1):
        assert all(f"step {step}\n" in cloud.log(index) for step in (1, 2, 3))
        assert 0 < cloud.result(index)["cost"] < 0.01, "not for ten minutes"


def test_a_stop_that_is_not_heard_is_said_again(cloud, emulator):
    process = cloud.start("steps=5000")
    cloud.wait_steps(1)
    emulator.faults.deaf_stops = 12  # the client's own retries included
    cloud.interrupt(process)
    assert cloud.states() == ["killed"]
    assert [job.status for job in emulator.jobs.values()] == ["Stopped"]


def test_no_capacity_after_a_controller_that_died(cloud, emulator):
    """All jobs are re-attached, so that nothing was packed when the first has to run again."""
    emulator.faults.capacity_errors = 1
    at_once, emulator.api.machine = emulator.machine, replace(emulator.machine, provisioning=500)
    process = cloud.start("steps=2")
    cloud.wait(lambda jobs: any(job.state == "running" for job in jobs))
    process.kill()
    process.wait()
    emulator.api.machine = at_once
    process = cloud.start("steps=2", "launcher.resume=last")
    assert any("still running, waited for" in line for line in process.stdout)
    (job,) = emulator.jobs.values()
    job.machine = at_once
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert "#0 is submitted again, on ml.m5.xlarge on demand in us-east-1: CapacityError" in output
    assert cloud.states() == ["finished"]
    assert len(emulator.requests) == 2
    assert not any(job.live for job in emulator.jobs.values())
