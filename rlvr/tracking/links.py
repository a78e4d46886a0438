"""Deep links into the MLflow UI. Its start page shows nothing of use for a sweep."""

import json
import shlex
from collections.abc import Sequence
from urllib.parse import quote, urlsplit, urlunsplit

from rlvr.secret_patterns import without_secrets
from rlvr.tracking.names import clean_name

LOCAL_UI = "http://127.0.0.1:5000"


def links(
    uri: str,
    experiment_id: str,
    *,
    parent_run_id: str | None,
    run_ids: Sequence[str],
    metric: str,
    base: str | None = None,
) -> dict[str, str | None]:
    """`command` starts (or signs in to) the UI where needed; `runs_url` lists the runs, best first,
    with charts; `compare_url` opens parallel coordinates of `run_ids` (None for a single run).
    `base` is where the UI is, if that is known."""
    command, usual = _interface(uri)
    base = base or usual
    return {
        "command": command,
        "runs_url": base + _runs_page(experiment_id, parent_run_id, run_ids, metric),
        "compare_url": base + _compare_page(experiment_id, run_ids) if len(run_ids) > 1 else None,
    }


def _interface(uri: str) -> tuple[str | None, str]:
    """The command that makes the UI reachable, and the address in front of `/#/...`."""
    if uri.startswith(("http://", "https://")):
        parts = urlsplit(uri)
        host = parts.netloc.rpartition("@")[2]
        return None, urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
    if uri.startswith("arn:"):
        return _sign_in(uri), "https://<host of the signed URL>"
    if uri.startswith("databricks"):
        return None, "https://<workspace>/ml"
    address = shlex.quote(without_secrets(uri))
    return f"mlflow ui --backend-store-uri {address} --port 5000", LOCAL_UI


def _sign_in(arn: str) -> str:
    kind, _, name = arn.split(":", 5)[5].partition("/")
    region = arn.split(":")[3]
    if kind == "mlflow-app":
        return f"aws sagemaker create-presigned-mlflow-app-url --region {region} --arn {arn}"
    return (
        "aws sagemaker create-presigned-mlflow-tracking-server-url "
        f"--region {region} --tracking-server-name {name}"
    )


def _runs_page(experiment: str, parent: str | None, run_ids: Sequence[str], metric: str) -> str:
    page = f"/#/experiments/{experiment}/runs"
    if parent is None and len(run_ids) == 1:
        return f"{page}/{run_ids[0]}"
    # Sorting by a metric is what makes the UI show child runs in their parent's place.
    order = f"orderByKey={quote(f'metrics.`{clean_name(metric)}`', safe='')}&orderByAsc=false"
    if parent is None:
        return f"{page}?{order}&compareRunsMode=CHART"
    search = quote(f"tags.mlflow.parentRunId = '{parent}'", safe="'")
    return f"{page}?searchFilter={search}&{order}&compareRunsMode=CHART"


def _compare_page(experiment: str, run_ids: Sequence[str]) -> str:
    runs = quote(json.dumps(list(run_ids), separators=(",", ":")), safe="")
    experiments = quote(json.dumps([experiment]), safe="")
    return f"/#/compare-runs?runs={runs}&experiments={experiments}"
