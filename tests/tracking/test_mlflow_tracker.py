import json
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import datasets
import pytest

from rlvr.errors import UserError
from rlvr.manifest import Job, Manifest
from rlvr.states import State
from rlvr.tracking import NullTracker, create_runs, end_run
from rlvr.tracking import open_run as open_run_in
from rlvr.tracking.mlflow_tracker import MlflowTracker


def open_run(tracking, **run):
    return open_run_in(tracking, directory=Path("run"), **run)


@pytest.fixture
def tracker(tracking) -> MlflowTracker:
    opened = open_run(tracking, name="mine", params={"shots": 4}, tags={"seed": 42})
    assert isinstance(opened, MlflowTracker)
    return opened


def test_a_run_of_its_own(tracker, client):
    run = client.get_run(tracker.run_id)
    assert (run.info.run_name, run.info.status) == ("mine", "RUNNING")
    assert run.data.params == {"shots": "4"}
    assert run.data.tags["seed"] == "42"
    tracker.finish(State.killed)
    assert client.get_run(tracker.run_id).info.status == "KILLED"


def test_metrics_are_cleaned_and_keep_their_step(tracker, client):
    metrics = {"eval/pass@4": 0.5, "train/loss": float("nan"), "train/kl": None}
    tracker.log_metrics(metrics, step=7)
    tracker.log_metrics({"eval/pass@4": 0.75}, step=8)
    history = client.get_metric_history(tracker.run_id, "eval/pass_at_4")
    assert [(m.step, m.value) for m in history] == [(7, 0.5), (8, 0.75)]
    assert set(client.get_run(tracker.run_id).data.metrics) == {"eval/pass_at_4"}


def test_more_params_and_metrics_than_one_request_holds(tracker, client):
    tracker.log_params({f"p{n}": n for n in range(250)})
    tracker.log_metrics({f"train/m{n}": n for n in range(1100)})
    data = client.get_run(tracker.run_id).data
    assert len(data.params) == 251
    assert len(data.metrics) == 1100


def test_tables_files_and_datasets(tracker, client, tmp_path: Path):
    tracker.log_table([{"a": 1, "b": "x"}, {"a": 2, "c": [1]}], "completions/step_00010")
    tracker.log_table([{"a": 1}], "base_completions.json")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file.txt").write_text("text")
    tracker.log_artifact(tmp_path / "folder" / "file.txt", "logs")
    tracker.log_artifact(tmp_path / "folder", "all")
    rows = datasets.Dataset.from_list([{"question": "q", "gold": "1"}] * 3)
    tracker.log_dataset(rows, "gsm8k", "training")
    path = client.download_artifacts(tracker.run_id, "completions/step_00010.json")
    table = json.loads(Path(path).read_text())
    assert table == {"columns": ["a", "b", "c"], "data": [[1, "x", None], [2, None, 1]]}
    assert {f.path for f in client.list_artifacts(tracker.run_id)} == {
        "all",
        "base_completions.json",
        "completions",
        "logs",
    }
    (used,) = client.get_run(tracker.run_id).inputs.dataset_inputs
    assert (used.dataset.name, used.tags[0].value) == ("gsm8k", "training")
    assert json.loads(used.dataset.profile)["num_rows"] == 3


@pytest.mark.parametrize(("variable", "rank"), [("RANK", "1"), ("LOCAL_RANK", "3")])
def test_only_the_main_process_writes(tracking, client, monkeypatch, variable: str, rank: str):
    monkeypatch.setenv(variable, rank)
    assert isinstance(open_run(tracking, name="n", params={}, tags={}), NullTracker)
    monkeypatch.setenv("RANK", "0")
    assert isinstance(open_run(tracking, name="n", params={}, tags={}), MlflowTracker)


def test_the_null_tracker_does_nothing(tracking, tmp_path: Path):
    tracker = open_run(replace(tracking, name="none", uri="nonsense"), name="n", params={}, tags={})
    assert tracker.run_id is None
    tracker.log_metrics({"a": 1.0}, step=1)
    tracker.log_params({})
    tracker.set_tags({})
    tracker.log_table([], "t")
    tracker.log_artifact(tmp_path / "missing")
    tracker.finish()


def test_an_unknown_run_id_is_bad_input(tracking, monkeypatch):
    monkeypatch.setenv("RLVR_RUN_ID", "0" * 32)
    with pytest.raises(UserError, match="tracking=none"):
        open_run(tracking, name="n", params={}, tags={})


def test_a_store_in_trouble_costs_one_warning_and_no_metric(
    tracker, tracking, client, tmp_path, monkeypatch, caplog
):
    """The table of metrics is gone for a while; the run goes on and catches up."""
    database = sqlite3.connect(tmp_path / "mlflow.db")
    tracker.log_metrics({"reward/total": 1.0}, step=1)
    database.execute("alter table metrics rename to away")
    monkeypatch.setattr("rlvr.tracking.mlflow_tracker.FIRST_PAUSE_SECONDS", 0.05)
    for step in (2, 3, 4):
        tracker.log_metrics({"reward/total": float(step)}, step=step)
        time.sleep(0.06)
    assert len([r for r in caplog.records if r.levelname == "WARNING"]) == 1
    assert "The run goes on" in caplog.text
    database.execute("alter table away rename to metrics")
    tracker.finish()
    history = client.get_metric_history(tracker.run_id, "reward/total")
    assert sorted(metric.step for metric in history) == [1, 2, 3, 4]
    assert client.get_run(tracker.run_id).info.status == "FINISHED"


class Store:
    """A client whose store is down while `down`; it keeps what it was told."""

    def __init__(self) -> None:
        self.down, self.steps, self.status = True, [], None

    def log_batch(self, run_id: str, metrics=()) -> None:
        if self.down:
            raise OSError("down")
        self.steps += [metric.step for metric in metrics]

    def set_terminated(self, run_id: str, status: str) -> None:
        if self.down:
            raise OSError("down")
        self.status = status


@pytest.mark.parametrize("state", [State.finished, State.failed, State.killed])
def test_the_end_brings_what_waited_and_the_state(state: State):
    """Also within the pause after a failure, in which nothing else is sent."""
    store = Store()
    tracker = MlflowTracker(store, "r1")
    for step in (1, 2):
        tracker.log_metrics({"reward/total": 1.0}, step=step)
    store.down = False
    tracker.log_metrics({"reward/total": 1.0}, step=3)
    assert store.steps == [], "the pause is not over"
    tracker.finish(state)
    assert (store.steps, store.status) == ([1, 2, 3], state.mlflow)


def test_an_end_that_the_store_does_not_take_raises_nothing(caplog):
    tracker = MlflowTracker(Store(), "r1")
    tracker.log_metrics({"reward/total": 1.0}, step=1)
    tracker.finish(State.killed)
    assert "MLflow did not take metrics" in caplog.text


def test_a_store_that_is_gone_does_not_stop_the_run(tracker, tmp_path: Path, caplog):
    (tmp_path / "mlflow.db").unlink()
    (tmp_path / "mlflow.db").mkdir()
    tracker._client._tracking_client.store.engine.dispose()
    tracker.log_metrics({"a": 1.0})
    tracker.log_artifact(tmp_path / "missing")
    tracker.finish()
    assert "MLflow did not take metrics" in caplog.text


def test_system_metrics(tracking, client, monkeypatch):
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.2")
    tracker = open_run(replace(tracking, system_metrics=True), name="n", params={}, tags={})
    deadline = time.monotonic() + 20
    found: set[str] = set()
    while not found and time.monotonic() < deadline:
        time.sleep(0.2)
        metrics = client.get_run(tracker.run_id).data.metrics
        found = {name for name in metrics if name.startswith("system/cpu")}
    tracker.finish()
    assert found


@pytest.mark.slow
def test_many_processes_one_store(tracking, client):
    """No point is lost; the run of a process that is killed stays open until it is ended."""
    jobs = [Job(n, str(n), "h", [], str(n)) for n in range(5)]
    sweep = Manifest("s", "n", "2025", "local", [], "metric", jobs=jobs)
    create_runs(sweep, tracking)
    run_ids = [job.run_id for job in jobs]
    ends = ["finished"] * 3 + ["failed", "killed"]
    arguments = [f"{run_id}={end}" for run_id, end in zip(run_ids, ends, strict=True)]
    script = Path(__file__).with_name("forks.py")
    codes = subprocess.check_output([sys.executable, script, tracking.uri, *arguments])
    assert codes.decode().split() == ["0"] * 4 + [str(-signal.SIGKILL)]
    for run_id in run_ids:
        history = client.get_metric_history(run_id, "train/m9")
        assert [metric.step for metric in history] == list(range(10))
    assert client.get_run(run_ids[-1]).info.status == "RUNNING"
    for run_id in run_ids:
        end_run(sweep.tracking.uri, run_id, State.killed)
    statuses = [client.get_run(run_id).info.status for run_id in run_ids]
    assert statuses == [end.upper() for end in ends]


def test_what_an_earlier_attempt_has_logged_is_not_there_twice(
    tracking, tracker, client, monkeypatch
):
    for step in (1, 2, 3):
        tracker.log_metrics({"train/loss": step / 10, "perf/step_seconds": 1.0}, step)
    tracker.log_metrics({"base/accuracy": 0.25, "base/mean_length": 30.0})
    tracker.log_table([{"a": 1}, {"a": 2}], "base_completions.json")
    monkeypatch.setenv("RLVR_RUN_ID", tracker.run_id)
    again = open_run(tracking, name="mine", params={}, tags={})
    again.log_metrics({"base/accuracy": 0.25, "base/mean_length": 31.0})
    again.log_table([{"a": 1}, {"a": 3}], "base_completions.json")
    for step in (2, 3, 4):  # a checkpoint of step 1
        again.log_metrics({"train/loss": step / 10, "perf/step_seconds": 2.0}, step)

    def history(name):
        return [(m.step, m.value) for m in client.get_metric_history(tracker.run_id, name)]

    assert history("train/loss") == [(1, 0.1), (2, 0.2), (3, 0.3), (4, 0.4)]
    assert [step for step, _ in history("perf/step_seconds")] == [1, 2, 3, 4]
    assert history("base/accuracy") == [(0, 0.25)]
    assert (0, 31.0) in history("base/mean_length")
    path = client.download_artifacts(tracker.run_id, "base_completions.json")
    assert json.loads(Path(path).read_text()) == {"columns": ["a"], "data": [[1], [3]]}
