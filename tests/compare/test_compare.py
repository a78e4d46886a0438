import io
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from rlvr import tracking
from rlvr.compare import compare
from rlvr.errors import UserError
from rlvr.manifest import Job, Manifest


def printed(directory: Path) -> str:
    console = Console(width=80, file=io.StringIO(), record=True)
    compare.report(directory, console)
    return console.export_text()


def test_the_report_is_printed_and_kept(make_sweep, grid):
    directory = make_sweep(grid)
    text = printed(directory)
    assert "87.0 [81.6, 91.0]" in text
    assert f"chart: {directory / 'chart.png'}" in text
    assert "mlflow" not in text.lower()
    assert sorted(path.name for path in directory.iterdir() if path.is_file()) == [
        "chart.png",
        "comparison.csv",
        "comparison.json",
        "comparison.md",
        "sweep.json",
    ]
    assert "(chart.png)" in (directory / "comparison.md").read_text()


def test_a_benchmark_has_a_table_a_chart_and_files_of_its_own(make_sweep):
    scores = [{"accuracy": x, "low": x - 0.1, "high": x + 0.1, "n": 60} for x in (0.2, 0.4)]
    found = {"base": scores[0], "trained": scores[1], "paired": {"p_value": 0.03}}
    directory = make_sweep([("shots=0", {"benchmarks": {"svamp": found}}), ("shots=4", {})])
    text = printed(directory)
    assert "svamp (n = 60)" in text
    assert "40.0 [30.0, 50.0]" in text
    assert f"chart: {directory / 'chart.svamp.png'}" in text
    (first, second) = json.loads((directory / "comparison.svamp.json").read_text())["runs"]
    assert (first["trained_accuracy"], first["p_value"]) == (0.4, 0.03)
    assert second["trained_accuracy"] is None
    (own, _) = json.loads((directory / "comparison.json").read_text())["runs"]
    assert own["trained_accuracy"] == 0.5


def test_a_run_that_a_benchmark_was_not_asked_of_is_not_its_best(make_sweep):
    """The metric of its job is of its own data."""
    score = {"accuracy": 0.4, "low": 0.3, "high": 0.5, "n": 60}
    found = {"base": score, "trained": score, "paired": {"p_value": 1.0}}
    directory = make_sweep([("shots=0", {"benchmarks": {"svamp": found}}), ("shots=4", {})])
    record = json.loads((directory / "sweep.json").read_text())
    record["jobs"][1]["value"] = 0.9
    (directory / "sweep.json").write_text(json.dumps(record))
    printed(directory)
    assert json.loads((directory / "comparison.svamp.json").read_text())["best"] == 0


@pytest.mark.parametrize("state", ["failed", "killed", "pending"])
def test_a_sweep_without_a_single_result(make_sweep, state: str):
    directory = make_sweep([("shots=0", {"state": state, "base": None, "error": "boom"})])
    text = printed(directory)
    assert state in text
    assert "chart" not in text
    assert json.loads((directory / "comparison.json").read_text())["best"] is None


def test_an_unreadable_result_does_not_hide_the_others(make_sweep, grid):
    directory = make_sweep(grid)
    (directory / "1" / "result.json").write_text("{")
    text = printed(directory)
    assert text.count("<0.001") == 3


@pytest.mark.slow
@pytest.mark.parametrize(("won", "registered"), [(60, True), (3, False)])
def test_the_best_model_is_registered_where_it_beats_the_base(
    make_sweep, answer, mlflow_uri, won, registered
):
    """Three questions more of 100 may be chance, sixty are not."""
    store = SimpleNamespace(name="mlflow", uri=mlflow_uri, experiment="test")
    made = Manifest("s", "n", "2026", "local", [], "m", jobs=[Job(0, "shots=2", "h", [], "0")])
    tracking.create_runs(made, store)
    run = {"base": 0.2, "trained": 0.2 + won / 100, "n": 100, "run_id": made.jobs[0].run_id}
    overrides = "shots=2 tracking.registered_model=ours"
    directory = make_sweep([(overrides, run)], tracking=made.tracking)
    lucky = [number < won for number in range(80)]
    answer(directory / "0", "base", [True] * 20 + [False, True] * 5 + [False] * 70)
    answer(directory / "0", "trained", [True] * 20 + [True, False] * 5 + lucky[:70])
    (directory / "0" / "model").mkdir()
    (directory / "0" / "model" / "weights.safetensors").write_bytes(b"x")
    text = printed(directory)
    assert ("model of run 0 registered: ours version 1" in text) is registered
    printed(directory)

    from mlflow import MlflowClient

    found = MlflowClient(mlflow_uri).search_model_versions("name='ours'")
    assert len(found) == registered, "and once"


def test_the_links_and_the_parent_run(make_sweep, grid, mlflow_uri, tmp_path: Path):
    """The sweep's page in MLflow shows table, chart and best value."""
    store = SimpleNamespace(name="mlflow", uri=mlflow_uri, experiment="test")
    jobs = [Job(i, overrides, "hash", [], str(i)) for i, (overrides, _) in enumerate(grid)]
    made = Manifest("s", "n", "2026", "local", [], "metric", jobs=jobs)
    tracking.create_runs(made, store)
    run_ids = [job.run_id for job in jobs]
    with_runs = [(o, {**a, "run_id": i}) for (o, a), i in zip(grid, run_ids, strict=True)]
    directory = make_sweep(with_runs, tracking=made.tracking)
    text = printed(directory)
    assert f"mlflow ui --backend-store-uri {made.tracking.uri} --port 5000" in text
    assert "metrics.%60accuracy%2Ftrained%60&orderByAsc=false" in text
    assert all(run_id in text for run_id in run_ids)
    long = [line for line in text.splitlines() if len(line) > 80]
    assert all(
        line.lstrip().startswith(("chart:", "files:", "MLflow UI:", "runs in", "compared:"))
        for line in long
    )

    from mlflow import MlflowClient

    client = MlflowClient(made.tracking.uri)
    parent = client.get_run(made.tracking.parent_run_id)
    assert parent.data.metrics == {
        "best/accuracy": 0.87,
        "best/accuracy_gain": pytest.approx(0.54),
    }
    assert "| ★ 0 | 2 | 2e-4 |" in parent.data.tags["mlflow.note.content"]
    files = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert files == {"chart.png", "comparison.csv", "comparison.json"}

    shutil.move(tmp_path / "mlflow.db", tmp_path / "elsewhere.db")
    assert "87.0" in printed(directory)
    assert not (tmp_path / "mlflow.db").exists()


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("RLVR_OUTPUT_DIR", str(tmp_path))
    return tmp_path


def test_last_is_the_newest_sweep(make_sweep, grid, outputs: Path, capsys):
    make_sweep(grid, name="b", created="2026-01-01T00:00:00.000+00:00")
    newest = make_sweep(grid, name="a", created="2026-01-02T00:00:00.000+00:00")
    compare.compare([])
    assert str(newest) in capsys.readouterr().out.replace("\n", "")


def test_a_sweep_by_its_name(make_sweep, grid, outputs: Path, capsys):
    directory = make_sweep(grid, name="mine")
    compare.compare(["mine"])
    assert str(directory) in capsys.readouterr().out.replace("\n", "")


def test_runs_of_different_origin(make_sweep, make_run, grid, outputs: Path, capsys):
    make_sweep(grid, name="mine")
    make_run(outputs / "runs" / "single", ["shots=4"], trained=0.99)
    compare.compare(["mine", str(outputs / "runs" / "single")])
    assert "Best is run 4 (shots=4, lr=1e-4): 99.0 %" in capsys.readouterr().out
    (written,) = (outputs / "comparisons").iterdir()
    assert (written / "comparison.csv").read_text().count("\n") == 6
    assert not (outputs / "sweeps" / "mine" / "comparison.csv").exists()


def test_a_wrong_name_says_where_it_looked(outputs: Path):
    with pytest.raises(UserError, match=r"no directory nope, nor a sweep of that name in .*sweeps"):
        compare.compare(["nope"])
    with pytest.raises(UserError, match="no sweep in"):
        compare.compare(["last"])
