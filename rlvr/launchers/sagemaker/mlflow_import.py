"""Puts a run's own record into MLflow when the job itself could not reach the store."""

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr.evaluation.score import headline
from rlvr.evaluation.score import metrics as score_metrics
from rlvr.metric_names import worth_tracking
from rlvr.tracking.files import INPUTS, OUTPUTS, TABLE_ROWS, artifacts
from rlvr.tracking.names import chunks, finite_metrics
from rlvr.tracking.tables import flat_rows

if TYPE_CHECKING:
    from mlflow import MlflowClient

PER_CALL = 1000


def import_run(uri: str, run_id: str, directory: Path) -> int:
    """Log metrics, evaluation tables and files of a collected run; the number of new values.

    Values the run has already are left alone, so an import that was cut off can be repeated.
    """
    from mlflow.entities import Metric

    from rlvr.tracking.store import connect

    client = connect(uri)
    known = _known(client, run_id)
    now = int(time.time() * 1000)
    new = [
        Metric(name, value, now, step)
        for step, values in records(directory)
        for name, value in finite_metrics(values).items()
        if (name, step) not in known
    ]
    for batch in chunks(new, PER_CALL):
        client.log_batch(run_id, metrics=batch)
    _log_files(client, run_id, directory)
    return len(new)


def records(directory: Path) -> Iterator[tuple[int, dict[str, float]]]:
    """What a tracker would have been told: each step's metrics, then the scores."""
    file = directory / "metrics.jsonl"
    seen: set[str] = set()
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        values = json.loads(line)
        yield int(values.pop("step")), worth_tracking(values, seen)
    try:
        result: dict[str, Any] = json.loads((directory / "result.json").read_text("utf-8"))
    except (OSError, ValueError):
        return
    rules = {name.replace(".", "/"): found for name, found in result.get("protocols", {}).items()}
    for name, scores in {"": result, **result.get("benchmarks", {}), **rules}.items():
        below = f"/{name}" if name else ""
        for phase in ("base", "trained"):
            if scores.get(phase):
                yield 0, score_metrics(f"{phase}{below}", scores[phase])
        if scores.get("paired"):
            yield 0, {f"trained{below}/p_value": scores["paired"]["p_value"]}
    known = headline(result.get("base"), result.get("trained"))
    yield 0, {name: value for name, value in known.items() if value is not None}


def _known(client: "MlflowClient", run_id: str) -> set[tuple[str, int]]:
    names = client.get_run(run_id).data.metrics
    return {
        (name, point.step)
        for name in names
        for point in client.get_metric_history(run_id, name)
        if not math.isnan(point.value)  # announced, not known
    }


def _log_files(client: "MlflowClient", run_id: str, directory: Path) -> None:
    present = {item.path for item in client.list_artifacts(run_id)}
    for path in artifacts(directory, INPUTS + OUTPUTS):
        if path.name not in present:
            client.log_artifact(run_id, str(path))
    for rows in sorted(directory.glob("evaluations/*.jsonl")):
        if f"{rows.stem}_completions.json" not in present:
            client.log_table(run_id, _table(rows), f"{rows.stem}_completions.json")


def _table(file: Path) -> dict[str, list[Any]]:
    lines = file.read_text(encoding="utf-8").splitlines()[:TABLE_ROWS]
    rows = flat_rows([json.loads(line) for line in lines])
    columns = dict.fromkeys(key for row in rows for key in row)
    return {column: [row.get(column) for row in rows] for column in columns}
