"""A sweep whose runs Optuna proposes, each from the results of earlier ones.

The study is kept in a database, so that the same command, or `rlvr resume`, goes on with it. A
trial is one run: complete with its trained accuracy, pruned, or failed. What a pruner has seen of
it is reported to the study as its intermediate values.
"""

import importlib.util
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from hydra.core.utils import JobReturn, JobStatus
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from rlvr import manifest, pruning, result
from rlvr.config.pruner import PrunerConfig, PrunerName
from rlvr.errors import UserError, nearest
from rlvr.manifest import Job
from rlvr.pruning import BASE, Look, Pruned
from rlvr.states import State
from rlvr.sweep import study_record
from rlvr.sweep.search_space import Space

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import BaseStorage
    from optuna.trial import Trial

    from hydra_plugins.rlvr_launchers._base import SweepLauncher

log = logging.getLogger(__name__)

SWEEP = "sweep"  # a trial's attribute: the directory of the sweep that ran it
RULE = "Optuna's pruner"


@dataclass(frozen=True)
class SearchSettings:
    """conf/hydra/sweeper/rlvr_optuna.yaml explains them."""

    sampler: Any
    pruner: Any
    storage: str
    n_trials: int = 20
    n_jobs: int = 1
    direction: str = "maximize"
    study_name: str | None = None
    params: Mapping[str, Any] | None = None

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Self:
        known = cls.__dataclass_fields__
        if importlib.util.find_spec("optuna") is None:
            raise UserError("hydra/sweeper=rlvr_optuna needs Optuna: pip install -e '.[optuna]'")
        for key in given:
            if key not in known:
                raise UserError(
                    f"hydra.sweeper.{key} is not a setting of Optuna's sweeper{nearest(key, known)}"
                    f"; its settings are {', '.join(sorted(known))}"
                )
        settings = cls(**given)
        for key in ("n_trials", "n_jobs"):
            if getattr(settings, key) < 1:
                raise UserError(f"hydra.sweeper.{key}={getattr(settings, key)}: must be at least 1")
        if settings.direction not in ("maximize", "minimize"):
            raise UserError(
                f"hydra.sweeper.direction={settings.direction}: must be maximize or minimize"
            )
        return settings


class Search:
    """`config` is the sweep's, with Hydra's node."""

    def __init__(
        self, settings: SearchSettings, launcher: "SweepLauncher", config: DictConfig
    ) -> None:
        self.settings, self.launcher, self.config = settings, launcher, config
        self.directory = _directory(config)
        self._open: list[Trial] = []  # those of the batch that runs

    def run(self, arguments: Sequence[str]) -> None:
        space = Space.read(self.settings.params, arguments)
        self.study = self._open_study()
        self._settle()
        self.launcher.sweep.pruner.decide = self.decide
        failed: list[JobReturn] = []
        while (left := self.settings.n_trials - len(self._own(complete=True)) - len(failed)) > 0:
            returns = self._batch(space, min(left, self.settings.n_jobs))
            failed += [one for one in returns if one.status is JobStatus.FAILED]
            if all(one.status is JobStatus.FAILED for one in returns):
                break  # what fails every run of a batch would fail the next as well
        self._conclude()
        for one in failed:
            _ = one.return_value  # raises what happened to it

    def _open_study(self) -> "Study":
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        name = self.settings.study_name or self.directory.name
        study = optuna.create_study(
            storage=_storage(self.settings.storage),
            study_name=name,
            pruner=instantiate(self.settings.pruner),
            direction="maximize" if self.settings.direction == "maximize" else "minimize",
            load_if_exists=True,
        )
        sampler = dict(self.settings.sampler)
        if sampler.get("seed") is not None:  # else it would propose again what it did before
            sampler["seed"] += len(study.get_trials(deepcopy=False))
        study.sampler = instantiate(sampler)
        return study

    def _settle(self) -> None:
        """Trials that nobody runs any more have failed; those of this sweep are asked again.

        What another machine or another program has asked for may still run.
        """
        from optuna.trial import TrialState

        for trial in self.study.get_trials(states=(TrialState.RUNNING,)):
            where = Path(trial.user_attrs.get(SWEEP, "/nowhere"))
            if where.is_dir() and (where == self.directory or manifest.holder(where) is None):
                self.study.tell(trial.number, state=TrialState.FAIL)
        waiting = self.study.get_trials(states=(TrialState.WAITING,))
        settled = [trial.system_attrs.get("fixed_params") for trial in waiting]
        settled += [trial.params for trial in self._own(complete=True)]
        for trial in self._own(complete=False):
            if trial.params not in settled:
                self.study.enqueue_trial(trial.params)
                settled.append(trial.params)

    def _own(self, *, complete: bool) -> list[Any]:
        """Trials of this sweep that have a value or were pruned, or else have failed."""
        from optuna.trial import TrialState

        wanted = (TrialState.COMPLETE, TrialState.PRUNED) if complete else (TrialState.FAIL,)
        found = self.study.get_trials(deepcopy=False, states=wanted)
        return [t for t in found if t.user_attrs.get(SWEEP) == str(self.directory)]

    def _batch(self, space: Space, size: int) -> list[JobReturn]:
        self._open = [self.study.ask(space.distributions) for _ in range(size)]
        for trial in self._open:
            trial.set_user_attr(SWEEP, str(self.directory))
        first = len(self._own(complete=True)) + len(self._own(complete=False))
        jobs = [space.overrides(trial.params) for trial in self._open]
        returns = list(self.launcher.launch(jobs, first))
        for trial, returned in zip(self._open, returns, strict=True):
            self._tell(trial, returned)
        study_record.write(self.study, self.directory)
        return returns

    def _tell(self, trial: "Trial", returned: JobReturn) -> None:
        from optuna.trial import TrialState

        run = Path(str(returned.working_dir))
        self._report(trial, pruning.read_looks(run))
        found = result.ended(run)
        if found is not None and found.status is State.pruned:
            self.study.tell(trial, state=TrialState.PRUNED)
        elif returned.status is JobStatus.COMPLETED:
            self.study.tell(trial, float(returned.return_value))
        else:
            self.study.tell(trial, state=TrialState.FAIL)

    def decide(
        self, settings: PrunerConfig, looks: Mapping[int, Sequence[Look]], running: Sequence[int]
    ) -> Mapping[int, Pruned]:
        """In the place of `rlvr.pruning.prune`: the study is told of every look first."""
        found = dict(pruning.prune(settings, looks, running))
        jobs = {job.index: job for job in self.launcher.sweep.record.jobs}
        for index in running:
            trial = self._trial_of(jobs[index])
            if trial is None or not self._report(trial, looks[index]):
                continue
            if settings.name is PrunerName.optuna and index not in found and trial.should_prune():
                found[index] = _by_study(self.study, looks[index][-1])
        return found

    def _trial_of(self, job: Job) -> "Trial | None":
        for trial in self._open:
            if {f"{key}={value}" for key, value in trial.params.items()} <= set(job.overrides):
                return trial
        return None

    def _report(self, trial: "Trial", looks: Sequence[Look]) -> bool:
        """Whether there was anything new."""
        known = self.study.trials[trial.number].intermediate_values
        new = [look for look in looks if look.share != BASE and look.step not in known]
        for look in new:
            trial.report(look.accuracy, look.step)
        return bool(new)

    def _conclude(self) -> None:
        """As hydra-optuna-sweeper leaves it, and the report once more: the last batch is told."""
        from rlvr.compare import page

        study_record.write(self.study, self.directory)
        if best := study_record.best(self.study):
            found = {"name": "optuna", "best_params": best.params, "best_value": best.value}
            OmegaConf.save(found, self.directory / "optimization_results.yaml")
            print(f"best of {len(self.study.trials)} trials: {best.value:.4g} with {best.params}")
        if hasattr(self.launcher.sweep.task_function, "worker_module"):
            page.report(self.directory)


def _by_study(study: "Study", look: Look) -> Pruned:
    name = type(study.pruner).__name__
    return Pruned(
        RULE, f"after step {look.step} {name} gave up on {look} of the validation questions", look
    )


def _directory(config: DictConfig) -> Path:
    """Of the sweep that is begun, or gone on with."""
    own = Path(str(config.hydra.sweep.dir)).absolute()
    resumed = OmegaConf.select(config, "launcher.resume")
    return own if resumed is None else manifest.find(str(resumed), root=own.parent).absolute()


def _storage(url: str) -> "str | BaseStorage":
    if not url.startswith("journal:"):
        if url.startswith("sqlite:///"):
            os.makedirs(Path(url.removeprefix("sqlite:///")).absolute().parent, exist_ok=True)
        return url
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(url.removeprefix("journal:")))
