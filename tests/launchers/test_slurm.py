"""The Slurm launcher against a fake scheduler: the same manifest, results and resume as locally."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest

FAKE = Path(__file__).parent / "fake_slurm.py"


@pytest.fixture
def cluster(app, tmp_path: Path):
    """The app on a machine with sbatch, srun, sacct and scancel."""
    commands, state = tmp_path / "bin", tmp_path / "slurm"
    commands.mkdir()
    state.mkdir()
    for name in ("sbatch", "srun", "sacct", "scancel"):
        script = commands / name
        script.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} {name} "$@"\n')
        script.chmod(0o755)
    app.environment["PATH"] = f"{commands}{os.pathsep}{app.environment['PATH']}"
    app.environment["FAKE_SLURM"] = str(state)
    return app


def test_without_slurm_one_clear_message(app):
    output = app.run("launcher=slurm", "shots=0,1", code=1)
    assert "launcher=slurm needs sbatch, srun, sacct, scancel on the PATH" in output
    assert "Traceback" not in output


def test_jobs_run_in_an_array_with_their_resources(cluster):
    resources = ("launcher.partition=gpu", "launcher.account=me", "launcher.n_jobs=2")
    setup = 'launcher.setup=["export MARK=from-setup"]'
    extra = "+launcher.additional_parameters.mail_type=END"
    output = cluster.run("launcher=slurm", "do=ok,raise,kill", *resources, setup, extra, code=1)

    jobs = cluster.manifest().jobs
    assert [job.state for job in jobs] == ["finished", "failed", "killed"]
    assert jobs[2].error.startswith("job #2 died with signal 9 (SIGKILL)")
    assert cluster.manifest().launcher == "slurm"
    assert [job.remote["job_id"] for job in jobs] == ["100_0", "100_1", "100_2"]
    assert cluster.attempts(0)[0]["env"]["MARK"] == "from-setup"
    assert "2 of 3 jobs did not finish (#1, #2)" in output
    script = (Path(cluster.environment["FAKE_SLURM"]) / "scripts" / "100").read_text()
    wanted = ["partition=gpu", "account=me", "array=0-2%2", "gpus-per-node=1", "cpus-per-task=8"]
    wanted += ["mem=32GB", "time=300", "mail-type=END"]
    assert [w for w in wanted if w not in script] == []


def test_ctrl_c_cancels_and_resume_completes(cluster):
    process = cluster.start("launcher=slurm", "seconds=0,60,60", "launcher.n_jobs=2")
    cluster.wait(lambda jobs: [str(j.state) for j in jobs] == ["finished", "running", "running"])
    cluster.wait_running(3)
    os.kill(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)

    assert process.returncode == 130, output
    assert cluster.states() == ["finished", "killed", "killed"]
    cancelled = (Path(cluster.environment["FAKE_SLURM"]) / "scancel.log").read_text()
    assert cancelled == "100_1 100_2\n"
    result = json.loads((cluster.sweep() / "1" / "result.json").read_text())
    assert result["status"] == "killed"


def test_jobs_outlive_the_controller_and_resume_waits_for_them(cluster):
    process = cluster.start("launcher=slurm", "do=ok,wait")
    cluster.wait_running(2)
    cluster.wait(lambda jobs: jobs[1].state == "running")
    process.kill()
    process.wait()

    output = cluster.run("launcher=local", "do=ok,wait", "launcher.resume=last", code=1)
    assert "resume it with launcher=slurm" in output
    again = cluster.start("launcher=slurm", "do=ok,wait", "launcher.resume=last")
    cluster.read_until(again, "still running, waited for: #1 do=wait")
    cluster.release()
    assert again.wait(timeout=60) == 0
    assert cluster.states() == ["finished", "finished"]
    assert [len(cluster.attempts(i)) for i in range(2)] == [1, 1]
