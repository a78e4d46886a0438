"""The local launcher with real processes: what a user sees and what is left, whatever happens."""

import json
import os
import signal
from itertools import pairwise
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from rlvr.errors import UserError
from rlvr.launchers.local import LocalRunner
from rlvr.machine import visible_gpus
from rlvr.manifest import Job


def test_goes_on_after_failures_and_says_what_failed(app):
    output = app.run("shots=0,2", "do=ok,raise", code=1)

    manifest = app.manifest()
    assert [j.state for j in manifest.jobs] == ["finished", "failed", "finished", "failed"]
    assert [j.name for j in manifest.jobs][:2] == ["shots=0 do=ok", "shots=0 do=raise"]
    assert manifest.jobs[0].value == 0.5
    assert "this job was told to fail" in manifest.jobs[1].error
    assert "#0 shots=0 do=ok finished in" in output
    assert "#1 shots=0 do=raise failed after" in output
    assert "2 of 4 jobs did not finish (#1, #3)" in output
    assert output.count("in run_job") == 1, "the same error of two jobs is told once"
    assert f"launcher.resume={app.sweep().relative_to(app.outputs)}" in output
    assert "controller.py" not in output, "no traceback of the controller"


def test_job_gets_its_resolved_config_and_a_log(app):
    app.run("shots=3", "value=0.1")

    job = app.sweep() / "0"
    config = OmegaConf.to_container(OmegaConf.load(job / "config.yaml"), resolve=False)
    assert config["doubled"] == "3 and 3"
    assert "hydra" not in config
    assert OmegaConf.load(job / "overrides.yaml") == ["shots=3", "value=0.1"]
    assert "about to ok" in (job / "app.log").read_text()


@pytest.mark.parametrize(
    ("do", "state", "reason"),
    [
        ("kill", "killed", "job #1 died with signal 9 (SIGKILL)"),
        ("crash", "failed", "job #1 died with signal 11 (SIGSEGV)"),
        ("exit", "failed", "job #1 ended with exit code 7 and left no result"),
    ],
)
def test_a_job_that_dies_gets_a_result(app, do, state, reason):
    output = app.run(f"do=ok,{do}", code=1)

    assert app.states() == ["finished", state]
    assert reason in output
    result = json.loads((app.sweep() / "1" / "result.json").read_text())
    assert result["status"] == state
    assert reason in result["error"]


def test_a_job_ends_with_the_processes_it_started(app, wait_gone):
    app.run("shots=0", "child=true")
    wait_gone(int((app.sweep() / "0" / "child.pid").read_text()))


def test_n_jobs_limits_and_shares(app):
    app.run("shots=0,1,2", "seconds=1", "launcher.n_jobs=1")
    starts = [app.attempts(i)[0]["start"] for i in range(3)]
    assert all(later - earlier >= 1 for earlier, later in pairwise(starts))
    assert [app.attempts(i)[0]["manifest"] for i in range(3)] == ["running"] * 3


def test_each_job_has_its_own_gpus(app):
    app.environment["CUDA_VISIBLE_DEVICES"] = "4,5,6,7"
    app.run("shots=0,1", "seconds=1", "launcher.n_jobs=null", "launcher.gpus_per_job=2")
    seen = [app.attempts(i)[0]["env"]["CUDA_VISIBLE_DEVICES"] for i in range(2)]
    assert sorted(seen) == ["4,5", "6,7"]


def test_cores_are_shared_and_hydra_env_reaches_the_job(app):
    del app.environment["OMP_NUM_THREADS"]
    app.run("shots=0,1", "+hydra.job.env_set.MARK=7", "launcher.n_jobs=2")
    environment = app.attempts(0)[0]["env"]
    assert environment["OMP_NUM_THREADS"] == str(max(1, len(os.sched_getaffinity(0)) // 2))
    assert environment["MARK"] == "7"


@pytest.mark.slow
def test_ctrl_c_ends_every_job_and_resume_completes(app, wait_gone):
    sweep = ("shots=0,1", "do=wait,ok")
    process = app.start(*sweep)
    mixed = ["running", "finished", "running", "pending"]
    app.wait(lambda jobs: [str(j.state) for j in jobs] == mixed)
    app.wait_running(3)
    pids = [job.pid for job in app.manifest().jobs if job.pid]
    os.kill(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=30)

    wait_gone(*pids)
    assert process.returncode == 130, output
    assert app.states() == ["killed", "finished", "killed", "pending"]
    assert "Traceback" not in output
    assert "launcher.resume=" in output

    app.release()
    app.run(*sweep, "launcher.resume=last")
    assert app.states() == ["finished"] * 4
    assert [len(app.attempts(i)) for i in range(4)] == [2, 1, 2, 1]


def test_sigterm_of_the_controller_is_a_ctrl_c(app):
    process = app.start("do=wait")
    app.wait_running(1)
    process.terminate()
    assert process.wait(timeout=30) == 130
    assert app.states() == ["killed"]


def test_second_ctrl_c_does_not_wait_for_stubborn_jobs(app, wait_gone):
    process = app.start("do=stubborn", "seconds=60")
    jobs = app.wait_running(1)
    os.kill(process.pid, signal.SIGINT)
    app.read_until(process, "stopping 1 jobs")
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(timeout=10) == 130
    wait_gone(jobs[0].pid)
    assert app.states() == ["killed"]


@pytest.mark.slow
def test_controller_killed_leaves_no_orphans_and_resume_runs_the_lost(app, wait_gone):
    process = app.start("do=ok,wait", "shots=0,1")
    app.wait(lambda jobs: [str(j.state) for j in jobs] == ["finished"] * 2 + ["running"] * 2)
    app.wait_running(4)
    pids = [job.pid for job in app.manifest().jobs if job.pid]
    process.kill()
    process.wait()

    wait_gone(*pids)
    assert app.states()[2:] == ["running", "running"], "nobody was left to write"
    assert [str(job.true_state()) for job in app.manifest().jobs][2:] == ["lost", "lost"]

    app.release()
    output = app.run("do=ok,wait", "shots=0,1", "launcher.resume=last")
    assert "kept: #0 do=ok shots=0; #1 do=ok shots=1" in output
    assert "run again: #2 do=wait shots=0 (lost); #3 do=wait shots=1 (lost)" in output
    assert app.states() == ["finished"] * 4
    assert [len(app.attempts(i)) for i in range(4)] == [1, 1, 2, 2]
    assert len(list((app.outputs / "sweeps").iterdir())) == 1, "no empty directory is left"


@pytest.mark.slow
def test_resume_keeps_finished_and_reruns_what_changed(app):
    app.run("shots=0,1", "value=0.1")
    output = app.run(
        "shots=0,1", "value=0.1", f"launcher.resume={app.sweep()}", "launcher.n_jobs=1"
    )
    assert "kept: #0 shots=0; #1 shots=1" in output
    assert [len(app.attempts(i)) for i in range(2)] == [1, 1]

    result = app.sweep() / "1" / "result.json"
    result.write_text(result.read_text().replace("finished", "failed"))
    extended = ("launcher.resume=last", "+launcher.extend=true")
    output = app.run("shots=1,2", "value=0.1", *extended)
    assert "run again: #1 shots=1 (lost)" in output
    assert "new: #2 shots=2" in output
    assert "not in this request, left as they are: #0 shots=0" in output
    assert app.states() == ["finished"] * 3


def test_resume_runs_anew_when_a_yaml_file_has_changed(app, tmp_path: Path):
    extra = tmp_path / "extra"
    (extra / "mine").mkdir(parents=True)
    (extra / "mine" / "one.yaml").write_text("# @package _global_\nvalue: 0.1\n")
    arguments = ("--config-dir", str(extra), "+mine=one", "shots=0,1")
    app.run(*arguments)
    (extra / "mine" / "one.yaml").write_text("# @package _global_\nvalue: 0.2\n")
    output = app.run(*arguments, "launcher.resume=last")
    assert "their configuration has changed: #0" in output
    assert [job.value for job in app.manifest().jobs] == [0.2, 0.2]
    old = json.loads((app.sweep() / "0.old-1" / "result.json").read_text())
    assert old["metric"] == 0.1


def test_two_controllers_cannot_share_a_sweep(app):
    process = app.start("do=wait")
    app.wait_running(1)
    output = app.run("do=wait", "launcher.resume=last", code=1)
    assert f"is being run by process {process.pid}" in output
    assert "Traceback" not in output


def test_a_directory_that_holds_a_sweep_is_not_overwritten(app):
    app.run("shots=0")
    output = app.run("shots=0", f"hydra.sweep.dir={app.sweep()}", code=1)
    assert "holds a sweep already" in output
    assert len(app.attempts(0)) == 1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["launcher=local,slurm"], "a sweep runs on one launcher"),
        (["launcher.name=local,slurm"], "a sweep runs on one launcher, not on local, slurm"),
        (["launcher.n_jobs=0"], "launcher.n_jobs=0: must be at least 1"),
        (["launcher.n_jobs=two"], "launcher.n_jobs=two: must be a whole number or null"),
        (["+launcher.njobs=2"], "launcher.njobs is not a setting of the local launcher"),
        (["launcher.resume=nowhere"], "nowhere is no sweep (no sweep.json)"),
        (["launcher.resume=last"], "no sweep in"),
        (["value=0.1,2,3"], "2 of 3 jobs cannot run, so none was started"),
    ],
)
def test_what_cannot_run_is_refused_before_any_job_starts(app, overrides, message):
    output = app.run("shots=0", *overrides, code=1)
    assert message in output
    assert "Traceback" not in output
    assert not list(app.outputs.glob("sweeps/*/0"))


def test_validation_names_every_bad_job(app):
    output = app.run("value=0.1,2,3", code=1)
    assert "job #1 value=2\n    value=2: must be at most 1" in output.replace("2.0", "2")
    assert "job #2 value=3" in output


def test_batches_share_one_sweep(app):
    app.run("shots=0,1,2", "hydra.sweeper.max_batch_size=2")
    assert [job.index for job in app.manifest().jobs] == [0, 1, 2]
    assert app.states() == ["finished"] * 3


@pytest.mark.slow
def test_optuna_gets_the_values(app):
    pytest.importorskip("optuna", minversion="4.0")
    conf = Path(__file__).parents[2] / "conf"
    settings = [
        *("hydra/sweeper=rlvr_optuna", f"hydra.searchpath=[file://{conf}]"),
        *("hydra.sweeper.n_trials=4", "hydra.sweeper.n_jobs=2", "hydra.sweeper.sampler.seed=1"),
    ]
    app.run(*settings, "value=choice(0.1,0.2)", "seconds=0")
    found = OmegaConf.load(app.sweep() / "optimization_results.yaml")
    values = [job.value for job in app.manifest().jobs]
    assert len(values) == 4
    assert found.best_value == max(values)


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """nvidia-smi on a machine with two GPUs."""
    script = tmp_path / "nvidia-smi"
    gpus = "GPU 0: NVIDIA H100 (UUID: GPU-1)\\nGPU 1: NVIDIA H100 (UUID: GPU-2)"
    script.write_text(f"#!/bin/sh\nprintf '{gpus}\\n'\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return monkeypatch


def four_jobs(**settings: int) -> list[Job]:
    config = OmegaConf.create({"launcher": settings})
    return [Job(i, "", hash="", overrides=[], dir="", config=config) for i in range(4)]


def test_gpus_of_the_driver(driver):
    assert visible_gpus() == ["0", "1"]
    runner = LocalRunner()
    runner.prepare(four_jobs(), None)
    assert runner.n_jobs == 2, "one job per GPU"
    runner.prepare(four_jobs(n_jobs=3), None)
    assert [runner.devices(slot)["CUDA_VISIBLE_DEVICES"] for slot in range(3)] == ["0", "1", "0"]
    with pytest.raises(UserError, match="gpus_per_job=3: this machine shows 2 GPUs"):
        runner.prepare(four_jobs(gpus_per_job=3), None)


@pytest.mark.parametrize(
    ("chosen", "gpus"), [("3", ["3"]), ("GPU-a, MIG-b", ["GPU-a", "MIG-b"]), ("", []), ("-1", [])]
)
def test_the_users_choice_of_gpus(driver, chosen, gpus):
    driver.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert visible_gpus() == gpus


def test_without_a_gpu_one_job_at_a_time(driver, tmp_path):
    (tmp_path / "nvidia-smi").unlink()
    runner = LocalRunner()
    runner.prepare(four_jobs(), None)
    assert runner.n_jobs == 1
    assert "CUDA_VISIBLE_DEVICES" not in runner.devices(0)
