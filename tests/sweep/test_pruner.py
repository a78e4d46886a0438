"""A sweep's pruner, with directories as running jobs leave them."""

import pytest
from omegaconf import OmegaConf

from rlvr import pruning
from rlvr.config.pruner import PrunerConfig, PrunerName
from rlvr.errors import UserError
from rlvr.manifest import Job
from rlvr.pruning import BASE, Look
from rlvr.states import State
from rlvr.sweep import pruner
from rlvr.sweep.pruner import SweepPruner, settings_of

GOOD = Look(0.1, 4, 0.9, 0.84, 0.94, 128)
BAD = Look(0.1, 4, 0.5, 0.41, 0.59, 128)
BASE_LOOK = Look(BASE, 0, 0.4, 0.32, 0.49, 128)


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    monkeypatch.setattr(pruner, "PAUSE", 0.0)
    made = [Job(n, f"shots={n}", "h", [], str(n), state=State.running) for n in range(3)]
    for job in made:
        job.directory = tmp_path / job.dir
        job.directory.mkdir()
    return made


def test_the_hopeless_are_told_once_and_the_terminal_says_it(jobs):
    said = []
    sweep = SweepPruner(PrunerConfig(PrunerName.interval), said.append)
    pruning.write_looks(jobs[0].directory, [BASE_LOOK, GOOD])
    pruning.write_looks(jobs[1].directory, [BASE_LOOK])
    sweep.round(jobs)
    assert said == []
    pruning.write_looks(jobs[1].directory, [BASE_LOOK, BAD])
    sweep.round(jobs)
    sweep.round(jobs)
    assert said == ["#1 shots=1 is told to end, below the best"]
    assert pruning.told(jobs[1].directory).against == 0
    assert pruning.told(jobs[0].directory) is None
    assert pruning.told(jobs[2].directory) is None


def test_what_has_ended_is_compared_with_and_left_alone(jobs):
    sweep = SweepPruner(PrunerConfig(PrunerName.interval), print)
    jobs[0].state, jobs[1].state = State.finished, State.failed
    for job, look in zip(jobs, (GOOD, BAD, BAD), strict=True):
        pruning.write_looks(job.directory, [BASE_LOOK, look])
    sweep.round(jobs)
    assert [pruning.told(job.directory) is not None for job in jobs] == [False, False, True]


def test_without_a_pruner_nobody_is_told(jobs):
    for job, look in zip(jobs, (GOOD, BAD, BAD), strict=True):
        pruning.write_looks(job.directory, [BASE_LOOK, look])
    SweepPruner(PrunerConfig(), print).round(jobs)
    assert not any(pruning.told(job.directory) for job in jobs)


def test_a_sweep_has_one_pruner():
    made = [Job(n, "n", "h", [], "0") for n in range(2)]
    for job, name in zip(made, ("asha", "interval"), strict=True):
        job.config = OmegaConf.create({"pruner": {"name": name}})
    with pytest.raises(UserError, match="a sweep has one pruner"):
        settings_of(made)
    assert settings_of(made[:1]) == PrunerConfig(PrunerName.asha)
    made[0].config = OmegaConf.create({"value": 1})
    assert settings_of(made[:1]) == PrunerConfig(), "another project's task function"


def test_optunas_pruner_needs_optunas_sweeper():
    sweep = SweepPruner(PrunerConfig(), print)
    with pytest.raises(UserError, match="add hydra/sweeper=rlvr_optuna"):
        sweep.take(PrunerConfig(PrunerName.optuna))
    sweep.decide = lambda settings, looks, running: {}
    sweep.take(PrunerConfig(PrunerName.optuna))
    assert sweep.is_on
