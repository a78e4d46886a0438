"""The data of a sweep's jobs, read before any of them starts, and once where they share it."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from rlvr import config
from rlvr.config.schema import Schedule
from rlvr.errors import UserError, failure
from rlvr.manifest import Job
from rlvr.sweep.compose import Problems, hydra_config, problems, resolved, task_config

if TYPE_CHECKING:
    from rlvr.data.load import Splits

OWN = "rlvr.data.sources."


@dataclass(frozen=True)
class Data:
    """`train` and `questions` count rows: to train on, and asked in one evaluation."""

    shots: int
    train: int
    questions: int


class SweepData:
    """With `here` the jobs run on this machine, which then needs their data anyway.

    Elsewhere nothing is downloaded: what is neither in a file nor generated nor in the hub's cache
    is left to the jobs. `examine` looks at a config with its rows, and raises UserError.
    """

    def __init__(
        self, *, here: bool, examine: "Callable[[DictConfig, Splits], None] | None" = None
    ) -> None:
        self.here, self.examine = here, examine
        self.read: dict[str, Data] = {}

    def all_problems(self, jobs: Sequence[Job]) -> Problems:
        """Of configurations, and of the data of those that are right."""
        found = problems(jobs, lambda job: config.problems(task_config(job.config)))
        bad = {job.index for refused in found.values() for job in refused}
        return found | self.problems([job for job in jobs if job.index not in bad])

    def problems(self, jobs: Sequence[Job]) -> Problems:
        """What is wrong with the data of which jobs. Configurations must be valid."""
        found: Problems = {}
        # What is right with many exemplars is right with fewer.
        for job in sorted(jobs, key=lambda job: (-_shots(job.config), job.index)):
            known = self.of(job)
            if known is not None and known.shots >= _shots(job.config):
                continue
            try:
                with hydra_config(job.config):
                    self._read(job.config)
            except UserError as error:
                found.setdefault(str(error), []).append(job)
            except (Exception, SystemExit) as error:  # whatever the user's loader raises
                text = f"{job.config.dataset.loader.get('_target_')} {failure(error)}"
                found.setdefault(text, []).append(job)
        return {text: sorted(bad, key=lambda job: job.index) for text, bad in found.items()}

    def of(self, job: Job) -> Data | None:
        """None where the data has not been read."""
        return self.read.get(_identity(job.config))

    def _read(self, cfg: DictConfig) -> None:
        from rlvr.data.hub import NotCachedError, only_cached
        from rlvr.data.load import load_splits
        from rlvr.data.schedule import ShotSchedule
        from rlvr.evaluation.tasks import tasks, validation_task
        from rlvr.verify.build import build_verifier

        if not self.here and not all(map(_needs_no_network, _datasets(cfg))):
            return
        try:
            with nullcontext() if self.here else only_cached():
                verifier = build_verifier(cfg.dataset)
                splits = load_splits(
                    cfg.dataset, seed=cfg.seed, verifier=verifier, schedule=ShotSchedule.of(cfg)
                )
                validation_task(cfg, splits)  # refuses what a pruner must not look at
                asked = sum(len(task.questions) for task in tasks(cfg, splits))
            if self.examine is not None:
                self.examine(cfg, splits)
        except NotCachedError:
            return
        self.read[_identity(cfg)] = Data(_shots(cfg), len(splits.train), asked)


def _datasets(cfg: DictConfig) -> Iterator[DictConfig]:
    yield cfg.dataset
    yield from cfg.eval.benchmarks.values()


def _needs_no_network(dataset: DictConfig) -> bool:
    """A loader of the user's own may do whatever it likes."""
    return dataset.path is not None or str(dataset.loader.get("_target_")).startswith(OWN)


def _shots(cfg: DictConfig) -> int:
    from rlvr.data.schedule import ShotSchedule

    own = ShotSchedule.of(cfg).most
    return max(own, *(int(dataset.num_shots) for dataset in _datasets(cfg)))


def _identity(cfg: DictConfig) -> str:
    """All that decides which rows are read and paid, but for the exemplars before them."""
    values = resolved(cfg)
    evaluation = {key: values["eval"][key] for key in ("n", "split", "benchmarks")}
    read: list[Any] = [values["dataset"], evaluation, values["seed"], values["rewards"]]
    read.append(cfg.shots_schedule is Schedule.constant)  # else asked at both ends
    for dataset in (values["dataset"], *evaluation["benchmarks"].values()):
        dataset.pop("num_shots")
    return json.dumps(read, sort_keys=True, default=str)
