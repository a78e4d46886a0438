"""`tracking=tensorboard`: event files in the run's directory, under the names MLflow has."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from rlvr.evaluation.score import headline
from rlvr.states import State
from rlvr.tracking.names import finite_metrics
from rlvr.tracking.params import typed
from rlvr.tracking.tables import flat_rows
from rlvr.tracking.tracker import NewRun, NullTracker

FOLDER = "tensorboard"
HEADLINE = tuple(headline(None, None))


class TensorboardTracker(NullTracker):
    """Files are in the run's directory anyway, so artifacts and datasets are not copied."""

    def __init__(self, run: NewRun) -> None:
        from torch.utils.tensorboard import SummaryWriter

        super().__init__()
        self._writer = SummaryWriter(str(run.directory / FOLDER))
        self._params = typed(dict(run.params))
        self.places = {"TensorBoard": f"tensorboard --logdir {shlex.quote(str(run.directory))}"}
        self.set_tags({"name": run.name, **run.tags})

    def log_metrics(self, metrics: Mapping[str, float | None], step: int | None = None) -> None:
        for name, value in finite_metrics(metrics).items():
            self._writer.add_scalar(name, value, step or 0)

    def log_params(self, params: Mapping[str, Any]) -> None:
        self._params |= typed(dict(params))

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        for name, value in typed(dict(tags)).items():
            self._writer.add_text(f"tags/{name}", str(value))

    def log_table(self, rows: Sequence[Mapping[str, Any]], name: str) -> None:
        flat = flat_rows(rows)
        columns = list(dict.fromkeys(key for row in flat for key in row))
        cells: list[list[Any]] = [[row.get(column) for column in columns] for row in flat]
        lines: list[list[Any]] = [columns, ["---"] * len(columns), *cells]
        text = "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)
        self._writer.add_text(name.removesuffix(".json"), text)

    def finish(self, state: State = State.finished) -> None:
        """In HPARAMS the settings stand beside the headline metrics, whose values TensorBoard takes
        from the curves of that name."""
        from torch.utils.tensorboard.summary import hparams

        self.set_tags({"state": state})
        for summary in hparams(self._params, dict.fromkeys(HEADLINE, 0.0)):
            self._writer._get_file_writer().add_summary(summary)
        self._writer.close()


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", "<br>")
