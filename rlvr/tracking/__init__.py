"""MLflow as rlvr uses it: who creates and ends which run. Imports mlflow on first use."""

from rlvr.tracking.links import links
from rlvr.tracking.params import params
from rlvr.tracking.store import resolve_uri
from rlvr.tracking.sweep_runs import create_runs, describe_sweep, end_run
from rlvr.tracking.tracker import RUN_ID_VARIABLE, NullTracker, Tracker, open_run

__all__ = [
    "RUN_ID_VARIABLE",
    "NullTracker",
    "Tracker",
    "create_runs",
    "describe_sweep",
    "end_run",
    "links",
    "open_run",
    "params",
    "resolve_uri",
]
