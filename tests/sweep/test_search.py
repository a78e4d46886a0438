"""A search with a real study, and a launcher whose runs end at once."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

pytest.importorskip("optuna", minversion="4.0")

from optuna.trial import TrialState

from rlvr import pruning
from rlvr.config.pruner import PrunerConfig, PrunerName
from rlvr.errors import UserError
from rlvr.manifest import Job
from rlvr.pruning import BASE, Look
from rlvr.result import Result
from rlvr.states import State
from rlvr.sweep import study_record
from rlvr.sweep.search import Search, SearchSettings
from rlvr.sweep.search_space import Space

SPACE = ["shots=2,4", "trainer.learning_rate=tag(log,interval(1e-5,1e-2))", "trainer.beta=0.1"]


class Launched:
    """What a sweep launcher is to a search. `ends` says how a run ends, by its place."""

    def __init__(self, directory: Path, ends) -> None:
        self.directory, self.ends = directory, ends
        self.asked: list[list[str]] = []
        self.sweep = SimpleNamespace(
            pruner=SimpleNamespace(decide=None),
            record=SimpleNamespace(jobs=[]),
            task_function=None,
        )

    def launch(self, jobs, first):
        return [self._run(list(overrides), first + n) for n, overrides in enumerate(jobs)]

    def _run(self, overrides, index):
        place = len(self.asked)
        self.asked.append(overrides)
        run = self.directory / str(index)
        run.mkdir(parents=True, exist_ok=True)
        job = Job(index, "", "h", overrides, str(index), State.running, directory=run)
        self.sweep.record.jobs.append(job)
        end = self.ends(place)
        if end == "killed":
            raise KeyboardInterrupt
        pruning.write_looks(run, [look(BASE, 0, 0.3), look(0.1, 4, 0.5), look(0.2, 8, 0.6)])
        if end == "pruned":
            Result(State.pruned, error="hopeless").write(run)
        status = JobStatus.FAILED if end == "failed" else JobStatus.COMPLETED
        value = RuntimeError("out of memory") if end == "failed" else end
        returned = JobReturn(working_dir=str(run), status=status)
        returned.return_value = None if end == "pruned" else value
        return returned


def look(share, step, accuracy):
    return Look(share, step, accuracy, accuracy - 0.1, accuracy + 0.1, 64)


@pytest.fixture
def made(tmp_path):
    """A search in a sweep's directory; the study is in one database."""

    def make(ends, name="first", **settings):
        config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path / name)}}})
        (tmp_path / name).mkdir(exist_ok=True)
        given = {
            "sampler": OmegaConf.create({"_target_": "optuna.samplers.RandomSampler", "seed": 1}),
            "pruner": OmegaConf.create({"_target_": "optuna.pruners.MedianPruner"}),
            "storage": f"sqlite:///{tmp_path}/optuna.db",
            **settings,
        }
        launched = Launched(tmp_path / name, ends)
        return Search(SearchSettings.read(given), launched, config), launched

    return make


def states(search):
    return [trial.state for trial in search.study.trials]


def test_values_are_told_and_the_best_is_kept(made, tmp_path):
    search, launched = made(lambda place: place / 10, n_trials=5, n_jobs=2)
    search.run(SPACE)
    assert states(search) == [TrialState.COMPLETE] * 5
    assert search.study.best_value == 0.4
    assert all(overrides[0] == "trainer.beta=0.1" for overrides in launched.asked)
    assert {overrides[1] for overrides in launched.asked} <= {"shots=2", "shots=4"}
    found = OmegaConf.load(tmp_path / "first/optimization_results.yaml")
    assert found.best_value == 0.4
    record = json.loads((tmp_path / "first" / study_record.FILE).read_text())
    assert record["logarithmic"] == ["trainer.learning_rate"]
    assert set(record["importances"]) == {"shots", "trainer.learning_rate"}


def test_pruned_trials_are_pruned_with_what_was_seen_of_them(made):
    search, _ = made(lambda place: "pruned" if place == 1 else 0.5, n_trials=3)
    search.run(SPACE)
    assert states(search) == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.COMPLETE]
    assert search.study.trials[1].intermediate_values == {4: 0.5, 8: 0.6}


def test_a_killed_trial_has_failed_and_is_asked_again(made):
    search, first = made(lambda place: "killed" if place == 1 else 0.5, n_trials=3)
    with pytest.raises(KeyboardInterrupt):
        search.run(SPACE)
    again, second = made(lambda place: 0.5, n_trials=3)
    again.run(SPACE)
    assert states(again) == [TrialState.COMPLETE, TrialState.FAIL, *[TrialState.COMPLETE] * 2]
    assert second.asked[0] == first.asked[1], "its job goes on where it was"
    assert len(second.asked) == 2
    assert len([t for t in again.study.trials if t.state is TrialState.WAITING]) == 0
    more, third = made(lambda place: 0.5, n_trials=3)
    more.run(SPACE)
    assert third.asked == [], "nothing is left"


def test_one_that_is_killed_before_it_is_asked_again_is_asked_once(made):
    with pytest.raises(KeyboardInterrupt):
        made(lambda place: "killed", n_trials=2)[0].run(SPACE)
    for _ in range(2):
        waiting, _ = made(lambda place: 0.5, n_trials=2)
        waiting.study = waiting._open_study()
        waiting._settle()
    search, launched = made(lambda place: 0.5, n_trials=2)
    search.run(SPACE)
    assert states(search) == [TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE]
    assert len({tuple(overrides) for overrides in launched.asked}) == 2
    fewer, none = made(lambda place: 0.5, n_trials=1)
    fewer.run(SPACE)
    assert none.asked == [], "there are more than that already"


def test_a_study_that_is_named_is_shared_by_sweeps(made):
    made(lambda place: 0.5, n_trials=2, study_name="mine")[0].run(SPACE)
    search, _ = made(lambda place: 0.5, name="second", n_trials=2, study_name="mine")
    search.run(SPACE)
    assert len(search.study.trials) == 4


def test_failures_are_raised_at_the_end_and_a_batch_of_them_ends_it(made):
    search, launched = made(lambda place: "failed" if place == 0 else 0.5, n_trials=4, n_jobs=2)
    with pytest.raises(RuntimeError, match="out of memory"):
        search.run(SPACE)
    assert len(launched.asked) == 4
    search, launched = made(lambda place: "failed", name="bad", n_trials=9, n_jobs=3)
    with pytest.raises(RuntimeError, match="out of memory"):
        search.run(SPACE)
    assert len(launched.asked) == 3


def test_optunas_pruner_decides_while_runs_go_on(made):
    search, launched = made(lambda place: 0.9, n_trials=6)
    search.run(SPACE)
    trial = search.study.ask(Space.read(None, SPACE).distributions)
    overrides = Space.read(None, SPACE).overrides(trial.params)
    search._open = [trial]
    launched.sweep.record.jobs = [Job(7, "", "h", overrides, "7")]
    seen = {7: [look(BASE, 0, 0.05), look(0.1, 4, 0.1)]}
    assert search.decide(PrunerConfig(PrunerName.interval), seen, [7]) == {}
    assert search.study.trials[-1].intermediate_values == {4: 0.1}
    seen[7].append(look(0.2, 8, 0.1))
    pruned = search.decide(PrunerConfig(PrunerName.optuna), seen, [7])[7]
    assert (pruned.rule, pruned.look.step) == ("Optuna's pruner", 8)
    assert "MedianPruner gave up" in pruned.reason


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"n_trial": 3}, "hydra.sweeper.n_trial is not a setting of Optuna's sweeper.*n_trials"),
        ({"n_jobs": 0}, "hydra.sweeper.n_jobs=0: must be at least 1"),
        ({"direction": "up"}, "direction=up: must be maximize or minimize"),
    ],
)
def test_what_is_refused(made, settings, said):
    with pytest.raises(UserError, match=said):
        made(lambda place: 0.5, **settings)


def test_spaces():
    from optuna.distributions import CategoricalDistribution as Choice
    from optuna.distributions import FloatDistribution as Real
    from optuna.distributions import IntDistribution as Whole

    space = Space.read({"shots": "2,4", "seed": "range(1,4)"}, ["shots=0,8", "a=interval(0,1.5)"])
    assert space.distributions == {
        "shots": Choice(["0", "8"]),
        "seed": Whole(1, 3, step=1),
        "a": Real(0.0, 1.5),
    }
    assert Space.read(None, ["a=int(tag(log,interval(1,64)))"]).distributions == {
        "a": Whole(1, 64, log=True)
    }
    with pytest.raises(UserError, match="has nothing to choose"):
        Space.read(None, ["shots=2"])
