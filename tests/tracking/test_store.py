import multiprocessing
import os
import shutil
import sqlite3
import time
from pathlib import Path
from unittest.mock import Mock

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


@pytest.mark.parametrize(
    "uri",
    ["./mlruns", "htp://h:5000", "arn:aws:s3:::bucket", ARN.replace(":1", ":x"), "sqlite:a.db"],
)
def test_anything_else_is_refused(uri: str):
    with pytest.raises(UserError, match="expected sqlite:///FILE") as raised:
        resolve_uri(uri)
    assert str(raised.value).startswith(f"tracking.uri={uri}: ")


def test_artifacts_lie_beside_the_database(tracking, tmp_path: Path):
    client, experiment = open_experiment(tracking.uri, "test")
    assert client.get_experiment(experiment).artifact_location == str(tmp_path / "mlartifacts")
    assert open_experiment(tracking.uri, "test")[1] == experiment


def test_processes_that_find_no_database_wait_for_the_first(
    tmp_path: Path, migrated: Path, monkeypatch
):
    """Without the lock, several make it at once and break it."""

    def create_slowly(database: Path) -> None:
        unfinished = database.with_name("unfinished")
        with unfinished.open("xb") as file:
            time.sleep(0.5)
            file.write(migrated.read_bytes())
        unfinished.rename(database)
        (tmp_path / f"made by {os.getpid()}").touch()

    monkeypatch.setattr(store, "_create_database", create_slowly)
    uri = f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}"
    fork = multiprocessing.get_context("fork")
    opening = [fork.Process(target=open_experiment, args=(uri, "shared")) for _ in range(4)]
    for process in opening:
        process.start()
    for process in opening:
        process.join(timeout=60)
    assert [process.exitcode for process in opening] == [0] * 4
    assert len(list(tmp_path.glob("made by *"))) == 1
    assert open_experiment(uri, "shared")[1] == "1"


def test_an_unfinished_database_is_built_anew(tmp_path: Path, migrated: Path, monkeypatch):
    """A controller killed while it creates the store leaves a file nobody mistakes for one."""
    (tmp_path / ".mlflow.db.new").write_bytes(b"half a database")

    class Migrated:
        engine = Mock()

        def __init__(self, uri: str, artifacts: str) -> None:
            unfinished = Path(uri.removeprefix("sqlite:///"))
            assert not unfinished.exists(), "SQLite would go on with what is there"
            shutil.copy(migrated, unfinished)

    monkeypatch.setattr("mlflow.store.tracking.sqlalchemy_store.SqlAlchemyStore", Migrated)
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
