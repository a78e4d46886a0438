"""`tracking=trackio`: a local dashboard (`trackio show`), under the names MLflow has. TRACKIO_DIR
says where it keeps its database."""

import contextlib
import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rlvr.states import State
from rlvr.tracking.names import finite_metrics
from rlvr.tracking.params import typed
from rlvr.tracking.tables import flat_rows
from rlvr.tracking.tracker import NewRun, NullTracker
from rlvr.tracking.written import Written


class TrackioTracker(NullTracker):
    """Trackio takes settings, and tags as settings, when a run begins; it keeps no state of a run
    and, on this machine, needs no copies of files."""

    def __init__(self, run: NewRun, project: str) -> None:
        import trackio

        super().__init__()
        self._written = Written(run.directory)
        with _quiet():
            self._run = trackio.init(
                project=project,
                name=run.name,
                group=run.directory.parent.name,
                config=typed({**run.params, "tag": dict(run.tags)}),
                resume="allow" if self._written.run_id else "never",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
        self._written.run_id = self._run.name
        self._written.save()
        self.places = {"Trackio": f"trackio show --project {project}"}

    def log_metrics(self, metrics: Mapping[str, float | None], step: int | None = None) -> None:
        if values := self._written.new(finite_metrics(metrics), step):
            self._run.log(values, step=self._step)

    def log_table(self, rows: Sequence[Mapping[str, Any]], name: str) -> None:
        import pandas
        import trackio

        table = trackio.Table(dataframe=pandas.DataFrame(flat_rows(rows)))
        self._run.log({name.removesuffix(".json"): table}, step=self._step)

    @property
    def _step(self) -> int:
        """The newest: Trackio has no place for what belongs to none."""
        return max(0, self._written.step)

    def finish(self, state: State = State.finished) -> None:
        import trackio

        with _quiet():
            trackio.finish()  # not the run's own method: this one is not called again at exit


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """It prints advice on how to look at a dashboard, which `places` has."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
