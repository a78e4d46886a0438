from dataclasses import replace
from math import isnan
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from rlvr.errors import UserError
from rlvr.manifest import Job, Manifest, Tracking
from rlvr.paths import PROJECT
from rlvr.result import code_state
from rlvr.states import State
from rlvr.tracking import code_tags, create_runs, describe_sweep, end_run, open_run
from rlvr.tracking.sweep_runs import colour


def job(index: int, shots: int) -> Job:
    config = OmegaConf.create({"shots": shots, "hydra": {"sweep": "x"}})
    return Job(index, f"shots={shots}", f"h{shots}", [f"shots={shots}"], str(index), config=config)


def manifest(*jobs: Job) -> Manifest:
    return Manifest("s1", "shots=0,2,4", "2025", "local", [], "metric", jobs=list(jobs))


@pytest.fixture
def sweep(tracking) -> Manifest:
    record = manifest(job(0, 0), job(1, 2), job(2, 4))
    create_runs(record, tracking)
    return record


def run_ids(record: Manifest) -> list[str | None]:
    return [job.run_id for job in record.jobs]


def test_parent_and_children_exist_before_any_job(sweep, client):
    parent = client.get_run(sweep.tracking.parent_run_id)
    assert (parent.info.status, parent.info.run_name) == ("RUNNING", "shots=0,2,4")
    children = [client.get_run(run_id) for run_id in run_ids(sweep)]
    assert [run.info.status for run in children] == ["SCHEDULED"] * 3
    assert [run.info.run_name for run in children] == ["shots=0", "shots=2", "shots=4"]
    assert [run.data.params for run in children] == [{"shots": n} for n in ("0", "2", "4")]
    for run, job in zip(children, sweep.jobs, strict=True):
        assert run.data.tags["mlflow.parentRunId"] == sweep.tracking.parent_run_id
        assert run.data.tags["sweep_id"] == "s1"
        assert run.data.tags["config_hash"] == job.hash
        assert run.data.tags["job_index"] == str(job.index)
    assert len({run.data.tags["mlflow.runColor"] for run in children}) == 3


def test_without_tracking_nothing_is_created(tracking):
    for used in (replace(tracking, name="none"), None):
        record = manifest(job(0, 0))
        create_runs(record, used)
        assert record.tracking == Tracking()
        assert run_ids(record) == [None]
    end_run(None, None, State.finished)


@pytest.mark.parametrize("state", [State.finished, State.failed, State.killed, State.lost])
def test_a_run_is_ended_once(sweep, client, state: State):
    """The controller ends jobs that died; a job that has ended itself keeps its word."""
    uri, run_id = sweep.tracking.uri, sweep.jobs[0].run_id
    end_run(uri, run_id, State.running)
    assert client.get_run(run_id).info.status == "SCHEDULED", "it has not ended"
    end_run(uri, run_id, state)
    end_run(uri, run_id, State.failed)
    assert client.get_run(run_id).info.status == state.mlflow


def test_resume_takes_up_what_is_there_and_creates_the_rest(tracking, sweep, client):
    earlier, parent = run_ids(sweep), sweep.tracking.parent_run_id
    end_run(sweep.tracking.uri, earlier[0], State.finished)
    end_run(sweep.tracking.uri, parent, State.failed)
    sweep.jobs[2].run_id = None
    sweep.jobs.append(job(3, 8))
    create_runs(sweep, tracking)
    assert sweep.tracking.parent_run_id == parent
    assert run_ids(sweep)[:2] == earlier[:2]
    assert len({*run_ids(sweep), *earlier}) == 5
    assert client.get_run(parent).info.status == "RUNNING"
    assert client.get_run(earlier[0]).info.status == "FINISHED"


def test_resume_creates_what_the_store_has_lost(tracking, sweep, client):
    earlier, parent = run_ids(sweep), sweep.tracking.parent_run_id
    client.delete_run(earlier[0])
    sweep.tracking.parent_run_id = "0" * 32
    create_runs(sweep, tracking)
    assert sweep.tracking.parent_run_id not in ("0" * 32, parent)
    assert run_ids(sweep)[0] != earlier[0]
    assert run_ids(sweep)[1:] == earlier[1:]


def test_names_are_short_and_each_is_another(tracking, client):
    record = manifest(*[job(index, shots) for index, shots in enumerate((0, 2, 2))])
    create_runs(record, tracking)
    names = [client.get_run(run_id).info.run_name for run_id in run_ids(record)]
    assert names == ["shots=0", "shots=2 #1", "shots=2 #2"]


def test_the_accuracy_is_the_first_metric_of_a_run(tracking, client):
    """MLflow's compare page opens on it."""
    record = manifest(job(0, 0), job(1, 2))
    record.jobs[0].config = OmegaConf.create({"eval": {"before": True, "after": True}})
    record.jobs[1].config = OmegaConf.create({"eval": {"before": False, "after": True}})
    create_runs(record, tracking)
    for run_id in run_ids(record):
        client.log_metric(run_id, "base/accuracy", 0.25)
        client.log_metric(run_id, "accuracy/trained", 0.5)
    metrics = [client.get_run(run_id).data.metrics for run_id in run_ids(record)]
    assert list(metrics[0]) == ["accuracy/trained", "accuracy/gain", "base/accuracy"]
    assert list(metrics[1]) == ["accuracy/trained", "base/accuracy"]
    assert metrics[0]["accuracy/trained"] == 0.5
    assert isnan(metrics[0]["accuracy/gain"])


def test_runs_say_which_commit_they_are_of(sweep, client):
    commit, _ = code_state(PROJECT)
    for run_id in (sweep.tracking.parent_run_id, *run_ids(sweep)):
        tags = client.get_run(run_id).data.tags
        assert tags.get("mlflow.source.git.commit") == (commit or {}).get("commit")
    assert code_tags({"commit": "abc", "dirty": True, "diff_sha256": "x"}) == {
        "mlflow.source.git.commit": "abc",
        "git.dirty": "true",
    }
    assert code_tags(None) == {}


def test_a_sweep_on_a_server_that_is_down(tracking):
    with pytest.raises(UserError, match=r"tracking\.uri"):
        create_runs(manifest(job(0, 0)), replace(tracking, uri="http://127.0.0.1:9"))


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
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "page.html").write_text("page")
    describe_sweep(
        sweep.tracking.uri,
        sweep.tracking.parent_run_id,
        note="| a |",
        metrics={"best/accuracy": 0.5, "best/points": None},
        artifacts=[chart, folder],
    )
    parent = client.get_run(sweep.tracking.parent_run_id)
    assert parent.data.metrics == {"best/accuracy": 0.5}
    assert parent.data.tags["mlflow.note.content"] == "| a |"
    assert [file.path for file in client.list_artifacts(parent.info.run_id)] == [
        "chart.png",
        "page.html",
    ]


def test_the_job_finds_its_run(tracking, sweep, client, monkeypatch):
    monkeypatch.setenv("RLVR_RUN_ID", sweep.jobs[1].run_id)
    tracker = open_run(
        tracking,
        name="other",
        directory=Path("run"),
        params={"shots": 99, "seed": 1},
        tags={"a": "b"},
    )
    assert tracker.run_id == sweep.jobs[1].run_id
    run = client.get_run(tracker.run_id)
    assert (run.info.status, run.info.run_name) == ("RUNNING", "shots=2")
    assert run.data.params == {"shots": "2", "seed": "1"}
    tracker.finish()
    end_run(sweep.tracking.uri, tracker.run_id, State.failed)
    assert client.get_run(tracker.run_id).info.status == "FINISHED"


def test_many_jobs_have_many_colours():
    assert len({colour(index) for index in range(60)}) == 60
