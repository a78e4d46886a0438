"""`rlvr ui` with MLflow's real server."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from rlvr.errors import UserError
from rlvr.manifest import Job, Manifest
from rlvr.tracking import create_runs
from rlvr.tracking.ui import is_free, show


@pytest.fixture
def sweep(tracking, tmp_path: Path) -> Path:
    jobs = [Job(n, f"shots={n}", "h", [f"shots={n}"], str(n)) for n in range(2)]
    record = Manifest("s", "n", "2026", "local", [], "metric", jobs=jobs)
    create_runs(record, tracking)
    directory = tmp_path / "sweeps" / "mine"
    directory.mkdir(parents=True)
    record.save(directory)
    return directory


@pytest.mark.slow
def test_the_page_of_a_sweep_is_served_until_ctrl_c(sweep):
    command = [sys.executable, "-m", "rlvr", "ui", str(sweep), "--no-open", "--port", "0"]
    shown = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert shown.stdout
        page = next(line for line in shown.stdout if line.startswith("http"))
        assert "compareRunsMode=CHART" in page
        port = int(re.findall(r"127\.0\.0\.1:(\d+)", page)[0])
        experiment = re.findall(r"experiments/(\d+)/", page)[0]
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/2.0/mlflow/runs/search",
            json.dumps({"experiment_ids": [experiment]}).encode(),
            {"Content-Type": "application/json"},
        )
        found = json.load(urllib.request.urlopen(request, timeout=30))["runs"]
        assert {run["info"]["run_name"] for run in found} == {"n", "shots=0", "shots=1"}
    finally:
        os.kill(shown.pid, signal.SIGINT)
        assert shown.wait(timeout=90) == 130
    assert is_free(port)


@pytest.fixture
def here(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("RLVR_OUTPUT_DIR", str(tmp_path))
    return tmp_path


def test_a_store_on_a_server_needs_none_of_ours(sweep, here, capsys):
    record = json.loads((sweep / "sweep.json").read_text())
    record["tracking"]["uri"] = "https://mlflow.example.org"
    (sweep / "sweep.json").write_text(json.dumps(record))
    show("mine", open_browser=False)
    assert capsys.readouterr().out.startswith("https://mlflow.example.org/#/experiments/")


def test_no_store_yet(here):
    with pytest.raises(UserError, match=r"no MLflow store .*mlflow\.db"):
        show(None, open_browser=False)


def test_a_run_without_mlflow(here):
    run = here / "run"
    run.mkdir()
    with pytest.raises(UserError, match="tracked in MLflow"):
        show(str(run), open_browser=False)
    (run / "result.json").write_text('{"status": "finished", "run_id": "x"}')
    (run / "config.yaml").write_text("tracking: {name: tensorboard}")
    with pytest.raises(UserError, match="tensorboard"):
        show(str(run), open_browser=False)
