"""Where runs report to, and who creates and ends which run. Imports a tracker on first use."""

from rlvr.tracking.links import links
from rlvr.tracking.params import params
from rlvr.tracking.store import resolve_uri
from rlvr.tracking.sweep_runs import code_tags, create_runs, describe_sweep, end_run
from rlvr.tracking.tracker import RUN_ID_VARIABLE, RUN_NAME_VARIABLE, NullTracker, Tracker, open_run

__all__ = [
    "RUN_ID_VARIABLE",
    "RUN_NAME_VARIABLE",
    "NullTracker",
    "Tracker",
    "code_tags",
    "create_runs",
    "describe_sweep",
    "end_run",
    "links",
    "open_run",
    "params",
    "resolve_uri",
]
