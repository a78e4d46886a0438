"""The Slurm launcher against a fake scheduler: the same manifest, results and resume as locally."""

import json
import os
import signal

import pytest

SLURM = ("launcher=slurm", "+launcher.poll_seconds=0.3")


def test_without_slurm_one_clear_message(app):
    output = app.run("launcher=slurm", "shots=0,1", code=1)
    assert "launcher=slurm needs sbatch, srun, squeue, sacct, scancel, scontrol on the" in output
    assert "Traceback" not in output


def test_jobs_run_in_an_array_with_their_resources(slurm, cluster):
    resources = ("launcher.partition=gpu", "launcher.account=me", "launcher.n_jobs=2")
    setup = 'launcher.setup=["export MARK=from-setup"]'
    extra = "+launcher.additional_parameters.mail_type=END"
    output = slurm.run(*SLURM, "do=ok,raise,kill", *resources, setup, extra, code=1)

    jobs = slurm.manifest().jobs
    assert [job.state for job in jobs] == ["finished", "failed", "killed"]
    assert jobs[2].error.startswith("job #2 died with signal 9 (SIGKILL)")
    assert slurm.manifest().launcher == "slurm"
    assert [job.remote["job_id"] for job in jobs] == ["100_0", "100_1", "100_2"]
    assert slurm.attempts(0)[0]["env"]["MARK"] == "from-setup"
    assert "2 of 3 jobs did not finish (#1, #2)" in output
    script = (cluster.state / "scripts" / "100").read_text()
    wanted = ["partition=gpu", "account=me", "array=0-2%2", "gpus-per-node=1", "cpus-per-task=8"]
    wanted += ["mem=32GB", "time=300", "mail-type=END", "signal=USR2@120"]
    assert [w for w in wanted if f"#SBATCH --{w}\n" not in script] == []


@pytest.mark.slow
def test_jobs_with_other_resources_are_another_array(slurm, cluster):
    slurm.run(*SLURM, "shots=0,1", "launcher.mem_gb=1,2")
    assert cluster.ledger("submitted") == ["100_0", "100_1", "101_0", "101_1"]
    assert [job.remote["job_id"] for job in slurm.manifest().jobs] == [
        *("100_0", "101_0", "100_1", "101_1")
    ]
    assert slurm.states() == ["finished"] * 4


@pytest.mark.slow
def test_ctrl_c_cancels_and_resume_completes(slurm, cluster):
    process = slurm.start(*SLURM, "seconds=0,60,60", "launcher.n_jobs=2")
    slurm.wait(lambda jobs: [str(j.state) for j in jobs] == ["finished", "running", "running"])
    slurm.wait_running(3)
    os.kill(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)

    assert process.returncode == 130, output
    assert slurm.states() == ["finished", "killed", "killed"]
    assert cluster.ledger("cancel") == ["100_1", "100_2"]
    assert len(cluster.ledger("started")) == 3, "nothing is queued again"
    result = json.loads((slurm.sweep() / "1" / "result.json").read_text())
    assert result["status"] == "killed"
    assert "ended by SIGTERM" in result["error"]


def test_pending_jobs_are_cancelled_too(slurm, cluster):
    process = slurm.start(*SLURM, "do=ok,wait", "launcher.partition=held")
    slurm.wait(lambda jobs: all(job.remote and job.remote["job_id"] for job in jobs))
    os.kill(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130, output
    assert slurm.states() == ["killed", "killed"]
    assert "Slurm job 100_0 ended as CANCELLED" in slurm.manifest().jobs[0].error
    assert cluster.ledger("started") == []


def test_a_second_ctrl_c_waits_for_nothing(slurm, cluster):
    slurm.environment["FAKE_SLURM_KILL_WAIT"] = "90"
    process = slurm.start(*SLURM, "do=stubborn", "seconds=60")
    slurm.wait_running(1)
    os.kill(process.pid, signal.SIGINT)
    slurm.read_until(process, "cancelling 1 Slurm jobs")
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(timeout=30) == 130
    assert slurm.states() == ["killed"]
    assert cluster.ledger("cancel") == ["100_0"] * 2


@pytest.mark.slow
def test_jobs_that_slurm_does_not_cancel_stay_its_own(slurm, cluster):
    process = slurm.start(*SLURM, "do=wait")
    slurm.wait_running(1)
    cluster.fault("scancel", "fail*")
    os.kill(process.pid, signal.SIGINT)
    slurm.read_until(process, "Slurm did not cancel them: scancel: error: Unable to contact")
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(timeout=20) == 130
    assert slurm.states() == ["running"], "what is not cancelled goes on"

    slurm.release()
    output = slurm.run(*SLURM, "do=wait", "launcher.resume=last")
    assert "still running, waited for: #0" in output or "kept: #0" in output
    assert slurm.states() == ["finished"]
    assert cluster.ledger("started") == ["100_0"]


@pytest.mark.slow
def test_jobs_outlive_the_controller_and_resume_waits_for_them(slurm, cluster):
    process = slurm.start(*SLURM, "do=ok,wait")
    slurm.wait_running(2)
    slurm.wait(lambda jobs: jobs[1].state == "running")
    process.kill()
    process.wait()

    output = slurm.run("launcher=local", "do=ok,wait", "launcher.resume=last", code=1)
    assert "resume it with launcher=slurm" in output
    again = slurm.start(*SLURM, "do=ok,wait", "launcher.resume=last")
    slurm.read_until(again, "still running, waited for: #1 do=wait")
    slurm.release()
    assert again.wait(timeout=60) == 0
    assert slurm.states() == ["finished", "finished"]
    assert [len(slurm.attempts(i)) for i in range(2)] == [1, 1]
    assert cluster.ledger("started") == ["100_0", "100_1"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+launcher.signal_delay_s=18000", "must be less than the time limit"),
        ("+launcher.requeues=-1", "launcher.requeues=-1: must be at least 0"),
        ("+launcher.additional_parameters.job-name=mine", "job-name: is set by the launcher"),
        ("+launcher.additional_parameters.time=5", "time: is set by launcher.timeout_min"),
        ("launcher.nodes=none", "launcher.nodes=none: must be a whole number"),
    ],
)
def test_wrong_settings_are_refused_before_anything_starts(slurm, cluster, override, message):
    output = slurm.run(*SLURM, "shots=0,1", override, code=1)
    assert message in output
    assert "Traceback" not in output
    assert cluster.ledger("submitted") == []
