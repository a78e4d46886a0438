import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rlvr.errors import UserError
from rlvr.paths import output_dir
from rlvr.tracking import store
from rlvr.tracking.store import open_experiment, resolve_uri

ARN = "arn:aws:sagemaker:eu-west-1:123456789012:mlflow-tracking-server/mine"


def test_default_store_is_under_the_output_directory(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("RLVR_OUTPUT_DIR", str(tmp_path))
    assert output_dir() == tmp_path
    assert resolve_uri(None) == f"sqlite:///{tmp_path}/mlflow.db"
    assert resolve_uri(None, tmp_path / "x") == f"sqlite:///{tmp_path}/x/mlflow.db"


def test_relative_files_become_absolute(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve_uri("sqlite:///a.db") == f"sqlite:///{tmp_path}/a.db"


@pytest.mark.parametrize("uri", ["http://h:5000", "databricks", "postgresql+psycopg2://h/d", ARN])
def test_other_stores_are_taken_as_they_are(uri: str):
    assert resolve_uri(uri) == uri


@pytest.mark.parametrize("uri", ["./mlruns", "arn:aws:s3:::bucket", ARN.replace(":1", ":x")])
def test_anything_else_is_refused(uri: str):
    with pytest.raises(UserError, match="expected sqlite:///FILE") as raised:
        resolve_uri(uri)
    assert str(raised.value).startswith(f"tracking.uri={uri}: ")


def test_artifacts_lie_beside_the_database(tracking, tmp_path: Path):
    client, experiment = open_experiment(tracking.uri, "test")
    assert client.get_experiment(experiment).artifact_location == str(tmp_path / "mlartifacts")
    assert open_experiment(tracking.uri, "test")[1] == experiment


def test_processes_that_find_no_database_wait_for_the_first(tmp_path: Path):
    """Without the lock, every one of them fails and the file is left broken."""
    uri = f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}"
    command = [sys.executable, Path(__file__).with_name("forks.py"), "open", uri, "8"]
    assert subprocess.check_output(command, text=True).split() == ["0"] * 8


def test_an_unfinished_database_is_built_anew(tmp_path: Path, migrated: Path, monkeypatch):
    """A controller killed while it creates the store leaves a file nobody mistakes for one."""
    (tmp_path / ".mlflow.db.new").write_bytes(b"half a database")
    store._ensure_database(tmp_path / "mlflow.db")
    assert not (tmp_path / ".mlflow.db.new").exists()
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        assert database.execute("select count(*) from experiments").fetchone() == (1,)


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "http://user:secret@127.0.0.1:9"])
def test_a_server_that_does_not_answer_fails_fast(uri: str):
    began = time.monotonic()
    with pytest.raises(UserError) as raised:
        open_experiment(uri, "test")
    message = str(raised.value)
    assert time.monotonic() - began < 10
    assert "tracking.uri" in message
    assert "tracking=none" in message
    assert "secret" not in message
    assert "refused" in message


def test_a_file_that_is_no_database(tmp_path: Path):
    (tmp_path / "mlflow.db").write_text(
        "this is text, longer than a header of SQLite would be " * 9
    )
    with pytest.raises(UserError, match="tracking=none"):
        open_experiment(f"sqlite:///{tmp_path / 'mlflow.db'}", "test")


def test_no_place_for_the_store(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"tracking\.uri.*Not a directory|File exists"):
        open_experiment(f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}", "test")


def test_a_deleted_experiment_is_named(tracking, client):
    client.delete_experiment(open_experiment(tracking.uri, "test")[1])
    with pytest.raises(UserError, match=r"tracking\.experiment=test: .*deleted"):
        open_experiment(tracking.uri, "test")
