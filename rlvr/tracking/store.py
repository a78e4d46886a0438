"""Where the runs are stored, and how to get a client that works.

The default is one SQLite file for all runs under the output directory. It is built under a file
lock and moved into place, because processes that find a missing or half-built one break it.
"""

import fcntl
import logging
import os
import re
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from rlvr.errors import UserError
from rlvr.paths import output_dir
from rlvr.secret_patterns import without_secrets

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SQLITE = "sqlite:///"
_SAGEMAKER_ARN = r"arn:aws[\w-]*:sagemaker:[\w-]+:\d+:mlflow-(tracking-server|app)/[\w-]+$"
_SCHEMES = {"http", "https", "file", "sqlite", "postgresql", "mysql", "mssql"}
_PROBE_SECONDS = 5
# Defaults for MLflow's client, where the user's environment says nothing.
_ENVIRONMENT = {
    # Its own, 7 retries of up to 2 minutes each, would halt a training run for 15 minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def resolve_uri(uri: str | None, outputs: Path | str | None = None) -> str:
    """The URI that every process of a sweep can use: None is the store under `outputs`."""
    if uri is None:
        return f"{_SQLITE}{Path(outputs or output_dir()).resolve() / 'mlflow.db'}"
    if uri.startswith(_SQLITE):
        return f"{_SQLITE}{Path(uri.removeprefix(_SQLITE)).resolve()}"
    if re.match(_SAGEMAKER_ARN, uri) or re.split("[:+]", uri)[0] in _schemes(uri):
        return uri
    raise UserError(
        f"tracking.uri={without_secrets(uri)}: expected sqlite:///FILE, http(s)://HOST:PORT, a "
        "database URI (postgresql, mysql, mssql) or the ARN of a SageMaker tracking server"
    )


def _schemes(uri: str) -> set[str]:
    """What MLflow reads, and what installed plugins of it add."""
    plugins = {entry.name for entry in entry_points(group="mlflow.tracking_store")} - {"arn"}
    bare = {"databricks"} | (plugins if "://" in uri else set())
    return bare | (_SCHEMES if "://" in uri else set())


def database_file(uri: str) -> Path | None:
    """The file of a SQLite store, None for any other kind."""
    return Path(uri.removeprefix(_SQLITE)) if uri.startswith(_SQLITE) else None


def server_errors() -> tuple[type[Exception], ...]:
    """What a store that is down, full, locked or refusing raises: nothing a run should die of."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    return (
        MlflowException,  # also what its REST client makes of an exhausted retry
        RequestException,
        SQLAlchemyError,
        BotoCoreError,  # artifacts on S3, requests signed for SageMaker
        ClientError,
        Boto3Error,
        OSError,  # local artifacts: disk full, no permission
    )


def connect(uri: str) -> "MlflowClient":
    """A client for an existing store. Raises the errors of `server_errors`."""
    _set_defaults()
    import mlflow

    if uri.startswith("arn:"):
        mlflow.set_tracking_uri(uri)  # sagemaker-mlflow signs its requests for this one alone
    else:  # and at any other server warns with every request that it is no ARN
        logging.getLogger("mlflow.tracking.request_header.registry").setLevel(logging.ERROR)
    return mlflow.MlflowClient(uri)


def _set_defaults() -> None:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def open_experiment(uri: str, name: str) -> tuple["MlflowClient", str]:
    """A client and the id of experiment `name`, made where missing. UserError if out of reach."""
    database = database_file(uri)
    probe(uri)
    try:
        if database is not None:
            _ensure_database(database)
        client = connect(uri)
        return client, _experiment_id(client, name, database)
    except server_errors() as error:
        raise UserError(unreachable(uri, error)) from error


def unreachable(uri: str, error: Exception) -> str:
    """One message for a store that cannot be used, with the ways out."""
    reason = without_secrets(str(error).strip() or type(error).__name__).splitlines()[0]
    return (
        f"tracking.uri={without_secrets(uri)}: cannot use this MLflow store: {reason[:300]}\n"
        "Correct tracking.uri (null = a local SQLite file), or run without tracking: tracking=none"
    )


@cache
def probe(uri: str) -> None:
    """Fail at once when nobody answers, before mlflow is loaded. Any HTTP answer counts as one."""
    if not uri.startswith(("http://", "https://")):
        return
    import requests

    try:
        requests.get(f"{uri.rstrip('/')}/health", timeout=_PROBE_SECONDS)
    except requests.RequestException as error:
        raise UserError(unreachable(uri, error)) from error


def _ensure_database(database: Path) -> None:
    if database.exists():
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with database.with_name(f".{database.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not database.exists():
            _create_database(database)


def _create_database(database: Path) -> None:
    _set_defaults()
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    for name in ("mlflow.store.db.utils", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    unfinished = database.with_name(f".{database.name}.new")
    unfinished.unlink(missing_ok=True)
    store = SqlAlchemyStore(f"{_SQLITE}{unfinished}", str(_artifacts(database)))
    store.engine.dispose()
    unfinished.replace(database)


def _artifacts(database: Path) -> Path:
    return database.parent / "mlartifacts"


def _experiment_id(client: "MlflowClient", name: str, database: Path | None) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        location = None if database is None else str(_artifacts(database))
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException:  # another process was faster, or the server refuses
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        raise UserError(
            f"tracking.experiment={name}: this experiment was deleted in MLflow; restore it "
            f"(mlflow experiments restore -x {found.experiment_id}) or choose another name"
        )
    return str(found.experiment_id)
