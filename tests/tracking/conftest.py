"""One migrated database for the session, copied for each test: migrating takes seconds."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from rlvr.tracking import store


@dataclass
class Tracking:
    name: str = "mlflow"
    uri: str | None = None
    experiment: str = "test"


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    database = tmp_path_factory.mktemp("store") / "mlflow.db"
    store._ensure_database(database)
    return database


@pytest.fixture
def tracking(migrated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tracking:
    """A configuration for a store of the test's own."""
    for name in ("RLVR_RUN_ID", "RANK", "LOCAL_RANK", "RLVR_OUTPUT_DIR"):
        monkeypatch.delenv(name, raising=False)
    shutil.copy(migrated, tmp_path / "mlflow.db")
    return Tracking(uri=f"sqlite:///{tmp_path / 'mlflow.db'}")


@pytest.fixture
def client(tracking: Tracking):
    from mlflow import MlflowClient

    return MlflowClient(tracking.uri)
