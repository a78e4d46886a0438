"""MLflow says of every run and of the sweep what the manifest says, whoever ended them."""

import os
import signal

import pytest


@pytest.mark.slow
def test_runs_end_as_their_jobs_did(app, mlflow_uri):
    from mlflow import MlflowClient

    sweep = ("do=ok,raise,kill,wait", "tracking.name=mlflow", f"tracking.uri={mlflow_uri}")
    process = app.start(*sweep, "launcher.n_jobs=4")
    app.wait_running(4)
    app.wait(lambda jobs: [j.state for j in jobs].count("running") == 1)
    client = MlflowClient(mlflow_uri)
    manifest = app.manifest()
    status = lambda run_id: client.get_run(run_id).info.status  # noqa: E731
    children = [job.run_id for job in manifest.jobs]
    parent = manifest.tracking.parent_run_id
    assert status(parent) == "RUNNING"
    assert [app.attempts(i)[0]["env"]["RLVR_RUN_ID"] for i in range(4)] == children
    run = client.get_run(children[1])
    assert run.data.tags["mlflow.parentRunId"] == parent
    assert run.data.params["do"] == "raise"
    assert run.info.run_name == "do=raise"

    os.kill(process.pid, signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert [status(run) for run in children] == ["FINISHED", "FAILED", "KILLED", "KILLED"]
    assert status(parent) == "FAILED"


def test_an_unusable_store_stops_the_sweep_before_any_job(app):
    output = app.run("tracking.name=mlflow", "tracking.uri=http://127.0.0.1:9", code=1)
    assert "127.0.0.1:9" in output
    assert "Traceback" not in output
    assert not app.attempts(0)
