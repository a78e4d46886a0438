"""A model that training made better goes into MLflow's model registry."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr.tracking.store import connect, server_errors
from rlvr.tracking.sweep_runs import reachable

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)


def register_model(
    uri: str, run_id: str, folder: Path, name: str, tags: dict[str, Any]
) -> str | None:
    """Put `folder` on the run as its artifact `model` and register that as a version of `name`;
    its number, or None where the store did not take it. A run is registered once."""
    if not reachable(uri):
        return None
    try:
        client = connect(uri)
        return _version(client, run_id, name) or _register(client, run_id, folder, name, tags)
    except server_errors() as error:
        log.warning("The best run's model could not be registered in MLflow: %s", error)
        return None


def _version(client: "MlflowClient", run_id: str, name: str) -> str | None:
    found = client.search_model_versions(f"name='{name}'")
    return next((str(version.version) for version in found if version.run_id == run_id), None)


def _register(
    client: "MlflowClient", run_id: str, folder: Path, name: str, tags: dict[str, Any]
) -> str:
    if not client.search_registered_models(f"name='{name}'"):
        client.create_registered_model(name)
    client.log_artifacts(run_id, str(folder), "model")
    source = f"{client.get_run(run_id).info.artifact_uri}/model"
    texts = {key: str(value) for key, value in tags.items()}
    return str(client.create_model_version(name, source, run_id=run_id, tags=texts).version)
