"""`tracking=wandb`: Weights & Biases, under the names MLflow has. Its own process sends, and keeps
on trying; WANDB_MODE=offline keeps all in the run's directory for `wandb sync`. A run that goes on
is the same one there."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr.errors import UserError
from rlvr.states import State
from rlvr.tracking.names import finite_metrics
from rlvr.tracking.params import typed
from rlvr.tracking.tables import flat_rows
from rlvr.tracking.tracker import NewRun, NullTracker
from rlvr.tracking.written import Written

if TYPE_CHECKING:
    import datasets


class WandbTracker(NullTracker):
    def __init__(self, run: NewRun, project: str) -> None:
        import wandb

        super().__init__()
        self._written = Written(run.directory)
        try:
            self._run = wandb.init(
                project=project,
                name=run.name,
                group=run.directory.parent.name,
                config=typed(dict(run.params)),
                dir=str(run.directory),
                id=self._written.run_id,
                resume="allow",
                reinit="create_new",
                settings=wandb.Settings(silent=True, console="off"),
            )
        except wandb.Error as error:
            raise UserError(
                f"tracking=wandb: {error}. Log in once (wandb login, or WANDB_API_KEY), or set "
                "WANDB_MODE=offline"
            ) from error
        self.run_id: str | None = self._run.id
        self._written.run_id = self._run.id
        self._written.save()
        offline = f"wandb sync {Path(self._run.dir).parent}"
        self.places = {"W&B": self._run.url or offline}
        self.set_tags(run.tags)

    def log_metrics(self, metrics: Mapping[str, float | None], step: int | None = None) -> None:
        """Without a step they are the run's summary, not a point of a curve."""
        values = self._written.new(finite_metrics(metrics), step)
        if step is None:
            self._run.summary.update(values)
        elif values:
            self._run.log(values, step=step)

    def log_params(self, params: Mapping[str, Any]) -> None:
        self._run.config.update(typed(dict(params)), allow_val_change=True)

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        self._run.config.update({f"tag/{k}": v for k, v in typed(dict(tags)).items()})

    def log_table(self, rows: Sequence[Mapping[str, Any]], name: str) -> None:
        import wandb

        flat = flat_rows(rows)
        columns = list(dict.fromkeys(key for row in flat for key in row))
        data = [[row.get(column) for column in columns] for row in flat]
        table = wandb.Table(columns=columns, data=data, allow_mixed_types=True)
        self._run.log({name.removesuffix(".json"): table}, commit=False)

    def log_artifact(self, path: Path | str, folder: str | None = None) -> None:
        """A copy, because a link to the run's own file would be gone with it."""
        base = Path(path).parent
        pattern = str(Path(path) / "*") if Path(path).is_dir() else str(path)
        self._run.save(pattern, base_path=str(base), policy="now")

    def log_dataset(self, dataset: "datasets.Dataset", name: str, context: str) -> None:
        self._run.config.update({f"data/{context}": f"{name}, {len(dataset)} rows"})

    def finish(self, state: State = State.finished) -> None:
        self._run.finish(exit_code=int(not state.complete))
