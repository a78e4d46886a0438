"""`tracking=tensorboard`: event files in the run's directory, under the names MLflow has."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlvr.evaluation.score import headline
from rlvr.states import State
from rlvr.tracking.names import finite_metrics
from rlvr.tracking.params import typed
from rlvr.tracking.tables import flat_rows
from rlvr.tracking.tracker import NewRun, NullTracker

FOLDER = "tensorboard"
HEADLINE = tuple(headline(None, None))


class TensorboardTracker(NullTracker):
    """Files are in the run's directory anyway, so artifacts and datasets are not copied.

    A run that goes on writes another file beside those that it has, and in it what they lack.
    """

    def __init__(self, run: NewRun) -> None:
        from torch.utils.tensorboard import SummaryWriter

        super().__init__()
        self._scalars, self._texts = _written(run.directory / FOLDER)
        self._writer = SummaryWriter(str(run.directory / FOLDER))
        self._params = typed(dict(run.params))
        self.places = {"TensorBoard": f"tensorboard --logdir {shlex.quote(str(run.directory))}"}
        self.set_tags({"name": run.name, **run.tags})

    def log_metrics(self, metrics: Mapping[str, float | None], step: int | None = None) -> None:
        for name, value in finite_metrics(metrics).items():
            known = self._scalars.get((name, step or 0))
            # What has no step, such as a score, may have been asked for in another way meanwhile.
            if known is None or (step is None and known != np.float32(value)):
                self._writer.add_scalar(name, value, step or 0)
        self._writer.flush()  # else a run that is killed loses two minutes

    def log_params(self, params: Mapping[str, Any]) -> None:
        self._params |= typed(dict(params))

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        for name, value in typed(dict(tags)).items():
            self._add_text(f"tags/{name}", str(value))

    def log_table(self, rows: Sequence[Mapping[str, Any]], name: str) -> None:
        flat = flat_rows(rows)
        columns = list(dict.fromkeys(key for row in flat for key in row))
        cells: list[list[Any]] = [[row.get(column) for column in columns] for row in flat]
        lines: list[list[Any]] = [columns, ["---"] * len(columns), *cells]
        text = "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)
        self._add_text(name.removesuffix(".json"), text)

    def finish(self, state: State = State.finished) -> None:
        """In HPARAMS the settings stand beside the headline metrics, whose values TensorBoard takes
        from the curves of that name."""
        from torch.utils.tensorboard.summary import hparams

        self.set_tags({"state": state})
        for summary in hparams(self._params, dict.fromkeys(HEADLINE, 0.0)):
            self._writer._get_file_writer().add_summary(summary)
        self._writer.close()

    def _add_text(self, name: str, text: str) -> None:
        if self._texts.get(f"{name}/text_summary") != text:
            self._writer.add_text(name, text)


def _written(folder: Path) -> tuple[dict[tuple[str, int], float], dict[str, str]]:
    """Of the event files of a folder: values by name and step, the newest texts by name."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder.mkdir(parents=True, exist_ok=True)
    everything = {"scalars": 0, "tensors": 0}
    # TensorBoard hides what a later file writes again; here it has been written.
    events = EventAccumulator(str(folder), everything, purge_orphaned_data=False).Reload()
    scalars = {(tag, point.step): point.value
               for tag in events.Tags()["scalars"] for point in events.Scalars(tag)}  # fmt: skip
    texts = {tag: events.Tensors(tag)[-1].tensor_proto.string_val[0].decode()
             for tag in events.Tags()["tensors"] if tag.endswith("/text_summary")}  # fmt: skip
    return scalars, texts


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", "<br>")
