"""The job's side: one tracker per run, which writes from rank 0 and never kills the run."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rlvr import ranks
from rlvr.states import State

if TYPE_CHECKING:
    import datasets

    from rlvr.config.schema import TrackingConfig

RUN_ID_VARIABLE = "RLVR_RUN_ID"  # MLFLOW_RUN_ID would make transformers' callback rename the run
RUN_NAME_VARIABLE = "RLVR_RUN_NAME"


class Tracker(Protocol):
    """Where a run reports to. No method raises because a tracking server is in trouble.

    `places` says what to open, as label and address or command."""

    places: dict[str, str]

    @property
    def run_id(self) -> str | None: ...

    def log_metrics(self, metrics: Mapping[str, float | None], step: int | None = None) -> None: ...
    def log_params(self, params: Mapping[str, Any]) -> None: ...
    def set_tags(self, tags: Mapping[str, Any]) -> None: ...
    def log_table(self, rows: Sequence[Mapping[str, Any]], name: str) -> None: ...
    def log_artifact(self, path: Path | str, folder: str | None = None) -> None: ...
    def log_dataset(self, dataset: "datasets.Dataset", name: str, context: str) -> None: ...
    def finish(self, state: State = State.finished) -> None: ...


class NullTracker:
    """Reports nowhere: `tracking=none`, and every process but the main one. Other trackers inherit
    from it what they have no place for."""

    run_id: str | None = None

    def __init__(self) -> None:
        self.places: dict[str, str] = {}

    def log_metrics(self, metrics: Mapping[str, float | None], step: int | None = None) -> None:
        pass

    def log_params(self, params: Mapping[str, Any]) -> None:
        pass

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        pass

    def log_table(self, rows: Sequence[Mapping[str, Any]], name: str) -> None:
        pass

    def log_artifact(self, path: Path | str, folder: str | None = None) -> None:
        pass

    def log_dataset(self, dataset: "datasets.Dataset", name: str, context: str) -> None:
        pass

    def finish(self, state: State = State.finished) -> None:
        pass


@dataclass(frozen=True)
class NewRun:
    """What a tracker is told when its run begins. `directory` is where the run's files are."""

    name: str
    directory: Path
    params: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, Any] = field(default_factory=dict)


def open_run(
    tracking: "TrackingConfig",
    *,
    name: str,
    directory: Path,
    params: Mapping[str, Any],
    tags: Mapping[str, Any],
) -> Tracker:
    """The tracker of this run. A job of a sweep has its name and MLflow run from the controller
    ($RLVR_RUN_NAME, $RLVR_RUN_ID); any other run is created, called `name`.

    Raises UserError at once if the tracker cannot be used."""
    if tracking.name == "none" or not ranks.is_main():
        return NullTracker()
    run = NewRun(os.environ.get(RUN_NAME_VARIABLE, name), directory, params, tags)
    match tracking.name:
        case "tensorboard":
            from rlvr.tracking.tensorboard_tracker import TensorboardTracker

            return TensorboardTracker(run)
        case "wandb":
            from rlvr.tracking.wandb_tracker import WandbTracker

            return WandbTracker(run, tracking.experiment)
        case "trackio":
            from rlvr.tracking.trackio_tracker import TrackioTracker

            return TrackioTracker(run, tracking.experiment)
    from rlvr.tracking import mlflow_tracker

    return mlflow_tracker.attach(tracking, run, os.environ.get(RUN_ID_VARIABLE))
