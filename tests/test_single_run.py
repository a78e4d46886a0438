"""A run by itself: its directory can be named, and what is begun there goes on."""

import math
import os
from pathlib import Path

import pytest

from rlvr import manifest, single_run
from rlvr.errors import UserError
from rlvr.result import Result
from rlvr.states import State
from rlvr.tracking import RUN_ID_VARIABLE


@pytest.fixture
def ran(monkeypatch):
    """What a run that ends as `ran.result` says was started with."""

    class Ran(list):
        result = Result(State.finished, 0.5, trained={"accuracy": 0.5})

    started = Ran()

    def run(cfg, directory):
        assert manifest.holder(directory) == str(os.getpid()), "nobody else may start it now"
        started.append((cfg.run, cfg.shots, os.environ.get(RUN_ID_VARIABLE), Path.cwd()))
        started.result.write(directory)
        (directory / "mlflow_run_id").write_text("r7")
        return started.result.metric

    monkeypatch.setattr("rlvr.run.run", run)
    monkeypatch.delenv(RUN_ID_VARIABLE, raising=False)
    monkeypatch.setattr("logging.basicConfig", lambda **_: None)
    yield started
    os.environ.pop(RUN_ID_VARIABLE, None)


@pytest.fixture
def start(compose_config, tmp_path):
    def started(*overrides):
        cfg = compose_config("experiment=debug", "tracking=none", *overrides)
        return single_run.start(cfg, tmp_path / "runs/mine", ["experiment=debug", *overrides])

    return started


def test_a_run_that_ended_early_goes_on_under_its_mlflow_run(start, ran, tmp_path):
    ran.result = Result(State.killed, 0.1)
    start("shots=2")
    ran.result = Result(State.finished, 0.5, trained={"accuracy": 0.5})
    assert start("shots=2", "trainer.resume=false", "output_dir=elsewhere") == 0.5
    assert [(name, run_id) for name, _, run_id, _ in ran] == [("mine", None), ("mine", "r7")]
    assert manifest.holder(tmp_path / "runs/mine") is None


def test_a_finished_run_is_said(start, ran, capsys):
    start()
    assert start() == 0.5
    assert len(ran) == 1
    assert "runs/mine is finished already: accuracy 50.0 %" in capsys.readouterr().out


def test_a_pruned_run_is_said_and_goes_on_without_a_pruner(start, ran, capsys):
    ran.result = Result(State.pruned, error="below its base")
    start("pruner=interval")
    assert math.isnan(start("pruner=interval"))
    assert "runs/mine was pruned: below its base. With pruner=none" in capsys.readouterr().out
    ran.result = Result(State.finished, 0.5, trained={"accuracy": 0.5})
    assert start("pruner=none") == 0.5
    assert [run_id for _, _, run_id, _ in ran] == [None, "r7"]


@pytest.mark.parametrize("change", ["shots=4", "eval.n=7", "trainer.learning_rate=1e-3"])
def test_another_configuration_is_refused_and_touches_nothing(start, ran, tmp_path, change):
    start("shots=2")
    before = {p: p.read_bytes() for p in (tmp_path / "runs/mine").iterdir() if p.suffix}
    with pytest.raises(UserError, match="holds a run of another configuration") as error:
        start(change)
    assert change.partition("=")[0] + "=" in str(error.value)
    assert len(ran) == 1
    assert {p: p.read_bytes() for p in before} == before


def test_resume_takes_the_runs_own_configuration_and_place(start, ran, tmp_path, monkeypatch):
    ran.result = Result(State.failed, 0.1)
    monkeypatch.chdir(tmp_path)
    start("shots=4")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    single_run.resume(tmp_path / "runs/mine")
    assert [(shots, where) for _, shots, _, where in ran] == [(4, tmp_path)] * 2
    assert (tmp_path / "runs/mine/overrides.yaml").read_text().splitlines() == [
        "- experiment=debug",
        "- shots=4",
    ]


def test_a_run_has_one_process(start, ran, tmp_path):
    (tmp_path / "runs/mine").mkdir(parents=True)
    with (
        manifest.claim(tmp_path / "runs/mine"),
        pytest.raises(UserError, match=f"is being run by process {os.getpid()}"),
    ):
        start()


def test_a_job_of_a_sweep_is_gone_on_with_by_the_sweep(tmp_path):
    (tmp_path / "s/0").mkdir(parents=True)
    (tmp_path / "s/sweep.json").touch()
    with pytest.raises(UserError, match=r"is a job of a sweep: .*`rlvr resume .*/s`"):
        single_run.resume(tmp_path / "s/0")
