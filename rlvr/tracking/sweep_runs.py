"""The controller's side: a sweep's parent and child runs exist before any job starts."""

import colorsys
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr.errors import UserError
from rlvr.manifest import Job, Manifest, Tracking
from rlvr.paths import PROJECT
from rlvr.result import code_state
from rlvr.secret_patterns import without_secrets
from rlvr.states import State
from rlvr.tracking.names import chunks, clean_name, clean_params, finite_metrics
from rlvr.tracking.params import params
from rlvr.tracking.store import (
    connect,
    database_file,
    open_experiment,
    resolve_uri,
    server_errors,
    unreachable,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from rlvr.config.schema import TrackingConfig

log = logging.getLogger(__name__)

ENDED = {state.mlflow for state in State if state.ended}
PARAMS_PER_CALL = 100

# Okabe and Ito's palette, darkened where it is too light for a line on white.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7a5195", "#4d4d4d")


def create_runs(record: Manifest, tracking: "TrackingConfig | None") -> None:
    """Give the sweep its parent run (RUNNING) and every job its child (SCHEDULED); those that an
    earlier call made are used again. Where `tracking` is not MLflow's, nothing is made."""
    if tracking is None or tracking.name != "mlflow":
        return
    uri = resolve_uri(tracking.uri)
    client, experiment = open_experiment(uri, tracking.experiment)
    try:
        parent = _parent(client, experiment, record)
        for job in record.jobs:
            job.run_id = _child(client, experiment, record, job, parent)
    except server_errors() as error:
        raise UserError(unreachable(uri, error)) from error
    record.tracking = Tracking(uri, experiment, parent)


def create_run(client: "MlflowClient", experiment: str, name: str, tags: Mapping[str, Any]) -> str:
    """A run with the tags MLflow's UI shows as its user, source and version."""
    from mlflow.tracking.context import default_context

    own = {clean_name(key): without_secrets(str(value)) for key, value in tags.items()}
    known = {**default_context.DefaultRunContext().tags(), **code_tags(code_state(PROJECT)[0])}
    return str(client.create_run(experiment, run_name=name, tags={**known, **own}).info.run_id)


def code_tags(git: Mapping[str, Any] | None) -> dict[str, str]:
    """MLflow's own tag for a commit, and whether there were changes to it; none outside git."""
    if git is None:
        return {}
    return {"mlflow.source.git.commit": git["commit"], "git.dirty": str(git["dirty"]).lower()}


def announce(client: "MlflowClient", run_id: str, settings: Mapping[str, Any]) -> None:
    """MLflow's page of several runs opens on the metric that a run had first: log the trained
    accuracy and the gain as not yet known, before the run logs anything."""
    if not settings.get("eval.after"):
        return
    for name in ("accuracy/trained", "accuracy/gain")[: 1 + bool(settings["eval.before"])]:
        client.log_metric(run_id, name, math.nan, step=0)


def log_params(client: "MlflowClient", run_id: str, values: Mapping[str, Any]) -> None:
    """Log the parameters the run does not have yet: MLflow refuses to change one."""
    from mlflow.entities import Param

    known = client.get_run(run_id).data.params
    new = [Param(k, v) for k, v in clean_params(values).items() if k not in known]
    for batch in chunks(new, PARAMS_PER_CALL):
        client.log_batch(run_id, params=batch)


def end_run(uri: str | None, run_id: str | None, state: State) -> None:
    """End a run as its job ended; one that has ended keeps the status its own process gave it.
    A store out of reach costs a warning, never the sweep."""
    if uri is None or run_id is None or not state.ended or not reachable(uri):
        return
    try:
        client = connect(uri)
        if client.get_run(run_id).info.status not in ENDED:
            client.set_terminated(run_id, state.mlflow)
    except server_errors() as error:
        log.warning("MLflow run %s could not be marked %s: %s", run_id, state, error)


def describe_sweep(
    uri: str | None,
    parent_run_id: str | None,
    *,
    note: str | None = None,
    metrics: Mapping[str, float | None] | None = None,
    artifacts: Sequence[Path] = (),
) -> None:
    """Put a sweep's result on its parent run: description (Markdown), best values, files; a folder
    goes with all it holds."""
    if uri is None or parent_run_id is None or not reachable(uri):
        return
    try:
        client = connect(uri)
        if note is not None:
            client.set_tag(parent_run_id, "mlflow.note.content", note)
        for name, value in finite_metrics(metrics or {}).items():
            client.log_metric(parent_run_id, name, value)
        for path in artifacts:
            send = client.log_artifacts if path.is_dir() else client.log_artifact
            send(parent_run_id, str(path))
    except server_errors() as error:
        log.warning("The result of the sweep could not be logged to MLflow: %s", error)


def reachable(uri: str) -> bool:
    """False for a SQLite store that is not on this machine: connecting would create it."""
    database = database_file(uri)
    return database is None or database.exists()


def colour(index: int) -> str:
    """A colour per job: a fixed palette first, then hues at the golden angle."""
    if index < len(_COLOURS):
        return _COLOURS[index]
    red, green, blue = colorsys.hls_to_rgb(index * 0.618 % 1.0, 0.42, 0.65)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


def _parent(client: "MlflowClient", experiment: str, record: Manifest) -> str:
    earlier = record.tracking.parent_run_id
    if earlier and _exists(client, earlier):
        client.update_run(earlier, status=State.running.mlflow)
        return earlier
    tags = {"sweep_id": record.sweep_id, "rlvr.kind": "sweep"}
    return create_run(client, experiment, record.name, tags)


def _child(client: "MlflowClient", experiment: str, record: Manifest, job: Job, parent: str) -> str:
    if job.run_id and _exists(client, job.run_id):
        return job.run_id
    tags = {
        "config_hash": job.hash,
        "mlflow.parentRunId": parent,
        "mlflow.runColor": colour(job.index),
        "sweep_id": record.sweep_id,
        "job_index": job.index,
    }
    run_id = create_run(client, experiment, record.run_name(job), tags)
    settings = params(job.config, job.overrides)
    announce(client, run_id, settings)
    log_params(client, run_id, settings)
    client.update_run(run_id, status=State.pending.mlflow)
    return run_id


def _exists(client: "MlflowClient", run_id: str) -> bool:
    """False for a run that was deleted, or whose store was."""
    from mlflow.exceptions import MlflowException

    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
