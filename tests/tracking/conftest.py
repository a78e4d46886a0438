"""Where a test is tracked."""

from dataclasses import dataclass

import pytest


@dataclass
class Tracking:
    name: str = "mlflow"
    uri: str | None = None
    experiment: str = "test"
    system_metrics: bool = False


@pytest.fixture
def tracking(mlflow_uri: str, monkeypatch: pytest.MonkeyPatch) -> Tracking:
    """A configuration for a store of the test's own."""
    for name in ("RLVR_RUN_ID", "RLVR_RUN_NAME", "RANK", "LOCAL_RANK", "RLVR_OUTPUT_DIR"):
        monkeypatch.delenv(name, raising=False)
    return Tracking(uri=mlflow_uri)


@pytest.fixture
def client(tracking: Tracking):
    from mlflow import MlflowClient

    return MlflowClient(tracking.uri)
