from dataclasses import replace
from pathlib import Path

import pytest

from rlvr.errors import UserError
from rlvr.states import State
from rlvr.tracking import create_sweep, describe_sweep, end_run, open_run

JOBS = [
    {"name": f"shots={n}", "params": {"shots": n}, "tags": {"hash": f"h{n}"}} for n in (0, 2, 4)
]


@pytest.fixture
def sweep(tracking) -> dict:
    return create_sweep(tracking, sweep_id="s1", name="shots=0,2,4", jobs=JOBS)


def test_parent_and_children_exist_before_any_job(sweep, client):
    parent = client.get_run(sweep["parent_run_id"])
    assert (parent.info.status, parent.info.run_name) == ("RUNNING", "shots=0,2,4")
    children = [client.get_run(run_id) for run_id in sweep["run_ids"]]
    assert [run.info.status for run in children] == ["SCHEDULED"] * 3
    assert [run.info.run_name for run in children] == ["shots=0", "shots=2", "shots=4"]
    assert [run.data.params["shots"] for run in children] == ["0", "2", "4"]
    for run, job in zip(children, JOBS, strict=True):
        assert run.data.tags["mlflow.parentRunId"] == sweep["parent_run_id"]
        assert run.data.tags["sweep_id"] == "s1"
        assert run.data.tags["hash"] == job["tags"]["hash"]
    assert len({run.data.tags["mlflow.runColor"] for run in children}) == 3


def test_without_tracking_nothing_is_created(tracking):
    made = create_sweep(replace(tracking, name="none"), sweep_id="s", name="n", jobs=JOBS)
    assert made == {
        "uri": None,
        "experiment_id": None,
        "parent_run_id": None,
        "run_ids": [None, None, None],
    }
    end_run(None, None, State.finished)


@pytest.mark.parametrize("state", [State.finished, State.failed, State.killed, State.lost])
def test_a_run_is_ended_once(sweep, client, state: State):
    """The controller ends jobs that died; a job that has ended itself keeps its word."""
    uri, run_id = sweep["uri"], sweep["run_ids"][0]
    end_run(uri, run_id, State.running)
    assert client.get_run(run_id).info.status == "SCHEDULED", "it has not ended"
    end_run(uri, run_id, state)
    end_run(uri, run_id, State.failed)
    assert client.get_run(run_id).info.status == state.mlflow


def test_resume_takes_up_what_is_there_and_creates_the_rest(tracking, sweep, client):
    kept, failed, _ = sweep["run_ids"]
    end_run(sweep["uri"], kept, State.finished)
    end_run(sweep["uri"], failed, State.failed)
    end_run(sweep["uri"], sweep["parent_run_id"], State.failed)
    earlier = {"parent_run_id": sweep["parent_run_id"], "run_ids": {0: kept, 1: failed, 2: None}}
    jobs = [*JOBS, {"name": "shots=8", "params": {}, "tags": {}}]
    again = create_sweep(tracking, sweep_id="s1", name="x", jobs=jobs, resume=earlier)
    assert again["parent_run_id"] == sweep["parent_run_id"]
    assert again["run_ids"][:2] == [kept, failed]
    assert len(set(again["run_ids"])) == 4
    assert client.get_run(sweep["parent_run_id"]).info.status == "RUNNING"
    assert client.get_run(kept).info.status == "FINISHED"


def test_resume_creates_what_the_store_has_lost(tracking, sweep, client):
    client.delete_run(sweep["run_ids"][0])
    earlier = {"parent_run_id": "0" * 32, "run_ids": dict(enumerate(sweep["run_ids"]))}
    again = create_sweep(tracking, sweep_id="s1", name="x", jobs=JOBS, resume=earlier)
    assert again["parent_run_id"] not in ("0" * 32, sweep["parent_run_id"])
    assert again["run_ids"][0] != sweep["run_ids"][0]
    assert again["run_ids"][1:] == sweep["run_ids"][1:]


def test_a_sweep_on_a_server_that_is_down(tracking):
    with pytest.raises(UserError, match=r"tracking\.uri"):
        create_sweep(replace(tracking, uri="http://127.0.0.1:9"), sweep_id="s", name="n", jobs=JOBS)


def test_ending_a_run_never_raises_nor_creates_a_store(tmp_path: Path, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    missing = tmp_path / "gone.db"
    end_run(f"sqlite:///{missing}", "1" * 32, State.failed)
    assert not missing.exists()
    end_run("http://127.0.0.1:9", "1" * 32, State.failed)
    assert "could not be marked failed" in caplog.text


def test_the_parent_shows_the_result(sweep, client, tmp_path: Path):
    chart = tmp_path / "chart.png"
    chart.write_bytes(b"image")
    describe_sweep(
        sweep["uri"],
        sweep["parent_run_id"],
        note="| a |",
        metrics={"best/accuracy": 0.5, "best/points": None},
        artifacts=[chart],
    )
    parent = client.get_run(sweep["parent_run_id"])
    assert parent.data.metrics == {"best/accuracy": 0.5}
    assert parent.data.tags["mlflow.note.content"] == "| a |"
    assert [file.path for file in client.list_artifacts(parent.info.run_id)] == ["chart.png"]


def test_the_job_finds_its_run(tracking, sweep, client, monkeypatch):
    monkeypatch.setenv("RLVR_RUN_ID", sweep["run_ids"][1])
    tracker = open_run(tracking, name="other", params={"shots": 99, "seed": 1}, tags={"a": "b"})
    assert tracker.run_id == sweep["run_ids"][1]
    run = client.get_run(tracker.run_id)
    assert (run.info.status, run.info.run_name) == ("RUNNING", "shots=2")
    assert run.data.params == {"shots": "2", "seed": "1"}
    tracker.finish()
    end_run(sweep["uri"], tracker.run_id, State.failed)
    assert client.get_run(tracker.run_id).info.status == "FINISHED"
