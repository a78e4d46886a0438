"""What clusters do to a sweep: requeues, pre-emption, lost answers, controllers killed anywhere."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from rlvr.launchers.slurm.array import complete
from rlvr.launchers.slurm.runner import FORGOTTEN

pytestmark = pytest.mark.slow

SLURM = ("launcher=slurm", "+launcher.poll_seconds=0.3")
# SIGUSR2 eight seconds after the start, 52 before the end
SHORT = (*SLURM, "launcher.timeout_min=1", "+launcher.signal_delay_s=52")


def test_a_job_that_reaches_its_time_limit_is_queued_again(slurm, cluster):
    slurm.run(*SHORT, "do=twice")
    assert slurm.states() == ["finished"]
    assert cluster.ledger("started") == ["100_0"] * 2
    assert cluster.ledger("requeue") == ["100_0"]
    assert [job.remote["job_id"] for job in slurm.manifest().jobs] == ["100"]


def test_the_time_limit_is_not_reached_for_ever(slurm, cluster):
    output = slurm.run(*SHORT, "+launcher.requeues=1", "seconds=60", code=1)
    assert slurm.states() == ["killed"]
    assert cluster.ledger("started") == ["100_0"] * 2
    assert "ended by SIGUSR2 (time limit or preemption)" in output


@pytest.mark.parametrize("how", ["preempt", "announce", "grace", "node_fail"])
def test_what_slurm_takes_away_goes_on_in_the_same_job(slurm, cluster, how):
    process = slurm.start(*SLURM, "do=twice,ok", "+launcher.requeues=0")
    slurm.wait_running(2)
    cluster.call(how, "100_0")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert cluster.ledger("started").count("100_0") == 2
    assert slurm.states() == ["finished", "finished"]


def test_a_job_that_a_node_took_with_it_is_resumed(slurm, cluster):
    process = slurm.start(*SLURM, "do=wait,ok")
    slurm.wait_running(2)
    cluster.call("lose", "100_0")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1, output
    assert "Slurm job 100_0 ended as NODE_FAIL" in output
    slurm.release()
    slurm.run(*SLURM, "do=wait,ok", "launcher.resume=last")
    assert slurm.states() == ["finished", "finished"]
    assert cluster.ledger("started").count("101_0") == 1
    assert len(cluster.ledger("started")) == 3


def test_accounting_that_is_lost_ends_no_job(slurm, cluster):
    """Neither does a scheduler that does not answer."""
    cluster.fault("sacct", "fail", "empty*")
    process = slurm.start(*SLURM, "do=wait")
    slurm.wait_running(1)
    cluster.fault("squeue", *["fail"] * (FORGOTTEN + 3))
    slurm.wait(lambda jobs: not (cluster.state / "faults" / "squeue").read_text())
    assert slurm.states() == ["running"]
    slurm.release()
    assert process.wait(timeout=60) == 0
    assert cluster.ledger("started") == ["100_0"]


def test_a_job_that_slurm_has_forgotten_is_lost_and_runs_again(slurm, cluster):
    process = slurm.start(*SLURM, "do=wait")
    slurm.wait_running(1)
    slurm.wait(lambda jobs: jobs[0].state == "running")
    cluster.call("forget", "100_0")
    output, _ = process.communicate(timeout=120)
    assert "Slurm has no job 100 any more" in output
    assert slurm.states() == ["lost"]
    slurm.release()
    slurm.run(*SLURM, "do=wait", "launcher.resume=last")
    assert slurm.states() == ["finished"]
    assert cluster.ledger("started") == ["100_0", "101_0"]


@pytest.mark.parametrize("drops", [False, True])
def test_a_job_that_ended_unwatched_is_kept(slurm, cluster, drops):
    """Whether squeue has it still or the accounting alone."""
    process = slurm.start(*SLURM, "do=wait,kill")
    slurm.wait_running(2)
    process.kill()
    process.wait()
    slurm.release()
    while len(cluster.ledger("ended")) < 2:
        time.sleep(0.05)
    if drops:
        (cluster.state / "squeue_drops").touch()
    output = slurm.run(*SLURM, "do=wait,kill", "launcher.resume=last", code=1)
    assert "kept: #0 do=wait" in output
    assert "run again: #1 do=kill (lost)" in output
    assert cluster.ledger("started") == ["100_0", "100_1", "101_0"]


def test_a_lost_answer_of_sbatch_loses_no_job(slurm, cluster):
    cluster.fault("sbatch", "lost", "killed")
    slurm.run(*SLURM, "shots=0,1", "launcher.mem_gb=1,2")
    assert slurm.states() == ["finished"] * 4
    assert sorted(cluster.ledger("started")) == ["100_0", "100_1", "101_0", "101_1"]
    assert sorted(job.remote["job_id"] for job in slurm.manifest().jobs) == [
        *("100_0", "100_1", "101_0", "101_1")
    ]


def test_an_answer_that_is_lost_while_nobody_answers(slurm, cluster):
    cluster.fault("sbatch", "lost")
    cluster.fault("squeue", "fail", "fail", "fail")
    slurm.run(*SLURM, "shots=0,1")
    assert slurm.states() == ["finished", "finished"]
    assert sorted(cluster.ledger("started")) == ["100_0", "100_1"]


def test_an_array_that_is_refused_does_not_stop_the_others(slurm, cluster):
    output = slurm.run(*SLURM, "shots=0,1", "launcher.partition=full,gpu", code=1)
    assert slurm.states() == ["failed", "finished", "failed", "finished"]
    assert "sbatch refused the job: sbatch: error: Batch job submission failed" in output
    assert "Traceback" not in output
    assert all(job.remote is None for job in slurm.manifest().jobs[::2])
    assert cluster.ledger("started") == ["100_0", "100_1"]


@pytest.mark.parametrize("fault", ["slow 10", "late 10"])
def test_a_controller_killed_while_it_submits(slurm, cluster, fault):
    """sbatch goes on without it, and has made the jobs already or makes them later."""
    cluster.fault("sbatch", fault)
    process = slurm.start(*SLURM, "do=ok,wait")
    slurm.wait(lambda jobs: not (cluster.state / "faults" / "sbatch").read_text())
    while fault.startswith("late") and not cluster.ledger("started"):
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert [job.remote["job_id"] for job in slurm.manifest().jobs] == [None, None]

    slurm.release()
    output = slurm.run(*SLURM, "do=ok,wait", "launcher.resume=last")
    assert ("run again" in output) == fault.startswith("slow")
    assert slurm.states() == ["finished", "finished"]
    assert [len(slurm.attempts(i)) for i in range(2)] == [1, 1]


def test_what_was_written_down_and_never_submitted_is_submitted(slurm, cluster):
    cluster.fault("sbatch", "slow 60")
    process = slurm.start(*SLURM, "do=ok")
    slurm.wait(lambda jobs: all(job.remote for job in jobs))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    slurm.run(*SLURM, "do=ok", "launcher.resume=last")
    assert slurm.states() == ["finished"]
    assert cluster.ledger("started") == ["100_0"]


def test_a_scheduler_that_is_down_is_not_an_empty_one(slurm, cluster):
    process = slurm.start(*SLURM, "do=wait")
    slurm.wait_running(1)
    process.kill()
    process.wait()
    cluster.fault("squeue", "fail*")  # a call of the killed controller's may still be on its way
    output = slurm.run(*SLURM, "do=wait", "launcher.resume=last", code=1)
    cluster.fault("squeue")
    assert "Slurm does not answer (squeue)" in output
    assert "Traceback" not in output
    slurm.release()
    cluster.fault("sacct", "fail*")
    slurm.run(*SLURM, "do=wait", "launcher.resume=last")
    assert cluster.ledger("started") == ["100_0"]


def test_a_submission_whose_place_was_taken_does_nothing(slurm, cluster):
    process = slurm.start(*SLURM, "do=ok", "launcher.partition=held")
    jobs = slurm.wait(lambda jobs: bool(jobs[0].remote and jobs[0].remote["job_id"]))
    process.kill()
    process.wait()
    (slurm.sweep() / "0" / ".slurm_submission").write_text("another")
    folder = jobs[0].remote["folder"]
    script = (cluster.state / "scripts" / "100").read_text().replace("held", "gpu")
    complete(Path(folder), "101")
    late = cluster.state / "late.sh"
    late.write_text(script)
    cluster.call("sbatch", str(late))
    while "101_0" not in cluster.ledger("ended"):
        time.sleep(0.05)
    assert slurm.attempts(0) == []
    assert "another submission has taken the place" in Path(folder, "101_0_log.out").read_text()


def test_a_full_disk_is_one_message(slurm, cluster):
    """A file where the folder of submissions would be refuses as a full disk does."""
    process = slurm.start(*SLURM, "shots=0", "launcher.mem_gb=1,2")
    output, _ = process.communicate(timeout=60)
    sweep = slurm.sweep()
    shutil.rmtree(sweep / ".slurm")
    (sweep / ".slurm").write_text("")
    (sweep / "1" / "result.json").unlink()
    record = json.loads((sweep / "sweep.json").read_text())
    record["jobs"][1]["state"] = "failed"
    (sweep / "sweep.json").write_text(json.dumps(record))
    resumed = (*SLURM, "shots=0", "launcher.mem_gb=1,2", "launcher.resume=last")
    output = slurm.run(*resumed, code=1)
    assert "the sweep cannot go on submitting" in output
    assert "Traceback" not in output
