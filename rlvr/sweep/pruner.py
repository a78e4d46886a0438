"""Beside the loop of a sweep: what the runs have scored is read, and the hopeless are told to end.

A file in the run's directory tells it, so that it reaches a process, a Slurm job on a shared file
system, and one that was queued again.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from rlvr import pruning
from rlvr.config.pruner import PrunerConfig, PrunerName
from rlvr.errors import UserError
from rlvr.manifest import Job
from rlvr.pruning import Look, Pruned
from rlvr.states import State
from rlvr.sweep.compose import plain

PAUSE = 0.5  # seconds between two rounds

# (settings, looks of all runs by number, numbers of those that run) -> those to be ended
Decide = Callable[[PrunerConfig, Mapping[int, Sequence[Look]], Sequence[int]], Mapping[int, Pruned]]


class SweepPruner:
    """`decide` is `rlvr.pruning.prune`, or what a sweeper puts in its place."""

    def __init__(self, settings: PrunerConfig, say: Callable[[str], None]) -> None:
        self.settings, self.say = settings, say
        self.decide: Decide = pruning.prune
        self._due = 0.0
        self._read: dict[Path, tuple[int, list[Look]]] = {}  # when written, and what

    def take(self, settings: PrunerConfig) -> None:
        """Before anything starts; raises UserError where nobody would decide."""
        if settings.name is PrunerName.optuna and self.decide is pruning.prune:
            raise UserError(
                "pruner=optuna is decided by Optuna's study: add hydra/sweeper=rlvr_optuna, or use "
                "pruner=interval or pruner=asha"
            )
        self.settings = settings

    @property
    def is_on(self) -> bool:
        return self.settings.name is not PrunerName.none

    def round(self, jobs: Sequence[Job]) -> None:
        """`jobs` are all of the sweep. A job is told once."""
        if not self.is_on or time.monotonic() < self._due:
            return
        self._due = time.monotonic() + PAUSE
        looks = {job.index: self._looks(job.directory) for job in jobs}
        going = [job for job in jobs if job.state is State.running]
        untold = {job.index: job for job in going if not (job.directory / pruning.TOLD).exists()}
        for index, pruned in self.decide(self.settings, looks, [*untold]).items():
            pruning.tell(untold[index].directory, pruned)
            self.say(f"{untold[index].label} is told to end, {pruned.rule}")

    def _looks(self, run: Path) -> list[Look]:
        file = run / pruning.SCORES
        written = file.stat().st_mtime_ns if file.exists() else 0
        if self._read.get(run, (0, []))[0] != written:
            self._read[run] = written, pruning.read_looks(run)
        return self._read.get(run, (0, []))[1]


def settings_of(jobs: Sequence[Job]) -> PrunerConfig:
    """The sweep's pruner; raises UserError where jobs have different ones."""
    found = [_settings(job.config) for job in jobs]
    if any(other != found[0] for other in found):
        raise UserError(
            "a sweep has one pruner, which compares all of its runs: set pruner for the whole "
            "sweep (pruner=NAME, without a comma)"
        )
    return found[0]


def _settings(config: DictConfig) -> PrunerConfig:
    """A task function of another project may have no such node."""
    if not OmegaConf.is_config(OmegaConf.select(config, "pruner")):
        return PrunerConfig()
    typed = OmegaConf.merge(OmegaConf.structured(PrunerConfig), plain(config.pruner))
    settings = OmegaConf.to_object(typed)
    assert isinstance(settings, PrunerConfig)
    return settings
