"""One MLflow run, written by its job. A server in trouble never kills the run."""

import json
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr.errors import UserError
from rlvr.secret_patterns import without_secrets
from rlvr.states import State
from rlvr.tracking.links import links
from rlvr.tracking.names import chunks, clean_name, finite_metrics
from rlvr.tracking.store import (
    open_experiment,
    resolve_uri,
    server_errors,
    unreachable,
)
from rlvr.tracking.sweep_runs import announce, create_run, log_params
from rlvr.tracking.tables import flat_rows
from rlvr.tracking.tracker import NewRun

if TYPE_CHECKING:
    import datasets
    from mlflow import MlflowClient
    from mlflow.entities import Metric, RunData

    from rlvr.config.schema import TrackingConfig

log = logging.getLogger(__name__)

TABLES_TAG = "mlflow.loggedArtifacts"
METRICS_PER_CALL = 1000
FIRST_PAUSE_SECONDS = 10.0
LONGEST_PAUSE_SECONDS = 600.0


def attach(tracking: "TrackingConfig", run: NewRun, run_id: str | None) -> "MlflowTracker":
    """The tracker of MLflow run `run_id`, or of a new one; UserError where there is no store."""
    uri = resolve_uri(tracking.uri)
    client, experiment = open_experiment(uri, tracking.experiment)
    try:
        if run_id:
            client.update_run(run_id, status=State.running.mlflow)
            earlier = client.get_run(run_id).data
        else:
            earlier = None
            run_id = create_run(client, experiment, run.name, {})
            announce(client, run_id, run.params)
    except server_errors() as error:
        raise UserError(unreachable(uri, error)) from error
    tracker = MlflowTracker(client, run_id, earlier)
    found = links(uri, experiment, parent_run_id=None, run_ids=[run_id], metric="accuracy/trained")
    labels = {"command": "MLflow UI", "runs_url": "run in MLflow"}
    tracker.places = {label: text for key, label in labels.items() if (text := found[key])}
    tracker.log_params(run.params)
    tracker.set_tags(run.tags)
    if tracking.system_metrics:
        tracker.watch_system(uri)
    return tracker


class MlflowTracker:
    """Writes to one MLflow run. While the store is in trouble, metrics wait and the rest is
    dropped; the run's files have it all.

    `earlier` is what the run has from attempts that were cut off: a step that is trained again, to
    the same numbers, is not logged twice, and a table takes the place of its former self.
    """

    def __init__(
        self, client: "MlflowClient", run_id: str, earlier: "RunData | None" = None
    ) -> None:
        metrics = earlier.metrics if earlier else {}
        # Announced ones have no number yet.
        self._begun = {name for name, value in metrics.items() if not math.isnan(value)}
        self._known: dict[str, dict[int, float]] = {}
        tables = (earlier.tags if earlier else {}).get(TABLES_TAG, "[]")
        self._tables = {table["path"] for table in json.loads(tables)}
        self.run_id: str | None = run_id
        self.places: dict[str, str] = {}
        self._client = client
        self._id = run_id
        self._waiting: list[Metric] = []
        self._failures = 0
        self._quiet_until = 0.0
        self._system: Any = None

    def log_metrics(self, metrics: Mapping[str, float | None], step: int | None = None) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._waiting += [Metric(k, v, now, step or 0) for k, v in finite_metrics(metrics).items()]
        self._send("metrics", self._send_waiting)

    def log_params(self, params: Mapping[str, Any]) -> None:
        self._send("parameters", lambda: log_params(self._client, self._id, params))

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        from mlflow.entities import RunTag

        clean = [RunTag(clean_name(k), without_secrets(str(v))) for k, v in tags.items()]
        self._send("tags", lambda: self._client.log_batch(self._id, tags=clean))

    def log_table(self, rows: Sequence[Mapping[str, Any]], name: str) -> None:
        """Rows as the table `<name>.json`, which the run's page renders; a missing cell is None."""
        file = f"{clean_name(name.removesuffix('.json'))}.json"
        flat = flat_rows(rows)
        columns = dict.fromkeys(key for row in flat for key in row)
        table = {column: [row.get(column) for row in flat] for column in columns}
        if file in self._tables:  # MLflow would append to it
            data = [[row.get(column) for column in columns] for row in flat]
            text = json.dumps({"columns": [*columns], "data": data})
            self._send("a table", lambda: self._client.log_text(self._id, text, file))
        else:
            self._send("a table", lambda: self._client.log_table(self._id, table, file))

    def log_artifact(self, path: Path | str, folder: str | None = None) -> None:
        """A file, or a directory with all it holds."""
        send = self._client.log_artifacts if Path(path).is_dir() else self._client.log_artifact
        self._send("a file", lambda: send(self._id, str(path), folder))

    def log_dataset(self, dataset: "datasets.Dataset", name: str, context: str) -> None:
        """Name, digest, schema and size of a dataset; `context` says its use, such as training."""
        from mlflow.data import from_huggingface  # type: ignore[attr-defined]
        from mlflow.entities import DatasetInput, InputTag

        described = from_huggingface(dataset, name=name)._to_mlflow_entity()
        used = DatasetInput(described, [InputTag("mlflow.data.context", context)])
        self._send("a dataset", lambda: self._client.log_inputs(self._id, [used]))

    def watch_system(self, uri: str) -> None:
        """Log CPU, memory, disk and GPU use every ten seconds until `finish`."""
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        self._system = SystemMetricsMonitor(self._id, resume_logging=True, tracking_uri=uri)
        self._system.start()

    def finish(self, state: State = State.finished) -> None:
        """End the run as finished, failed or killed; what waited for the store is tried again."""
        if self._system is not None:
            self._system.finish()
            self._system = None
        self._quiet_until = 0.0
        self._send("the last metrics", self._send_waiting)
        self._send("the end", lambda: self._client.set_terminated(self._id, state.mlflow))

    def _send_waiting(self) -> None:
        for batch in chunks([m for m in self._waiting if self._is_new(m)], METRICS_PER_CALL):
            self._client.log_batch(self._id, metrics=batch)
        self._waiting.clear()

    def _is_new(self, metric: "Metric") -> bool:
        if metric.key in self._begun:
            points = self._client.get_metric_history(self._id, metric.key)
            self._known[metric.key] = {p.step: p.value for p in points if not math.isnan(p.value)}
            self._begun.remove(metric.key)
        value = self._known.get(metric.key, {}).get(metric.step)
        # What has no step, such as a score, may have been asked for in another way meanwhile.
        return value is None or (metric.step == 0 and value != metric.value)

    def _send(self, what: str, call: Callable[[], object]) -> None:
        if time.monotonic() < self._quiet_until:
            return
        try:
            call()
        except server_errors() as error:
            self._wait(what, error)
        else:
            if self._failures:
                log.info("MLflow answers again.")
            self._failures = 0

    def _wait(self, what: str, error: Exception) -> None:
        if not self._failures:
            log.warning(
                "MLflow did not take %s (%s). The run goes on; its files have everything.",
                what,
                without_secrets(str(error))[:300],
            )
        pause = min(FIRST_PAUSE_SECONDS * 2**self._failures, LONGEST_PAUSE_SECONDS)
        self._quiet_until = time.monotonic() + pause
        self._failures += 1
