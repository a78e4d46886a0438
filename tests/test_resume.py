"""`rlvr resume`: which sweep or run goes on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlvr import manifest, resume
from rlvr.errors import UserError
from rlvr.manifest import Job, Manifest
from rlvr.result import Result
from rlvr.states import State

APP = Path(__file__).parent / "launchers/app/app.py"


def a_sweep(folder: Path, *states: State, at: float = 0, command=("python", "app.py")) -> Path:
    folder.mkdir(parents=True)
    jobs = [Job(i, "n", "h", [], str(i), state) for i, state in enumerate(states)]
    Manifest("s", "n", "2025", "local", list(command), "m", jobs=jobs).save(folder)
    os.utime(folder / "sweep.json", (at, at))
    return folder


def a_run(folder: Path, state: State | None, at: float = 0) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("shots: 2\n")
    if state is not None:
        Result(state).write(folder)
    os.utime(folder / "config.yaml", (at, at))
    return folder


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    monkeypatch.setenv("RLVR_OUTPUT_DIR", str(tmp_path))
    return tmp_path


def test_the_newest_that_is_not_finished_goes_on(outputs, caplog):
    old = a_sweep(outputs / "sweeps/a", State.finished, State.failed, at=1)
    a_sweep(outputs / "sweeps/b", State.finished, at=9)
    new = a_run(outputs / "runs/c", None, at=2)
    a_run(outputs / "runs/d", State.finished, at=8)
    (outputs / "runs/empty").mkdir()
    (outputs / "sweeps/foreign").mkdir()
    (outputs / "sweeps/foreign/sweep.json").write_text('{"version": 2}')
    assert resume.newest_unfinished() == new
    assert caplog.text.count("foreign") == 1
    with manifest.claim(new):
        assert resume.newest_unfinished() == old
    Result(State.finished).write(new)
    assert resume.newest_unfinished() == old


def test_where_all_is_finished_it_says_so(outputs):
    a_sweep(outputs / "sweeps/b", State.finished)
    with pytest.raises(UserError, match=r"every sweep and run in .* is finished$"):
        resume.newest_unfinished()
    run = a_run(outputs / "runs/d", None)
    with manifest.claim(run), pytest.raises(UserError, match=r"runs/d still running"):
        resume.newest_unfinished()


def test_finished_sweeps_say_so_unless_jobs_may_still_be_proposed(outputs, capsys):
    done = a_sweep(outputs / "sweeps/b", State.finished)
    resume.resume("b")
    assert f"every job of {done} is finished" in capsys.readouterr().out
    proposing = Manifest("s", "n", "2", "local", ["python", "t", "hydra/sweeper=optuna"], "m")
    assert not resume._is_finished(proposing)


def test_names_and_directories(outputs):
    run, sweep = a_run(outputs / "runs/r", None), a_sweep(outputs / "sweeps/s")
    for target, found in (("r", run), ("s", sweep), (run, run), (sweep, sweep), ("last", sweep)):
        assert resume.find(str(target)) == found
    (outputs / "x").mkdir()
    with pytest.raises(UserError, match=r"neither a sweep .* nor a run that has begun"):
        resume.find(str(outputs / "x"))
    with pytest.raises(UserError, match="there is no directory nowhere"):
        resume.find("nowhere")


@pytest.mark.slow
def test_a_sweep_goes_on_by_its_own_command_wherever_the_user_is(tmp_path):
    env = os.environ | {"RLVR_OUTPUT_DIR": str(tmp_path)}

    def shown(*command, code):
        done = subprocess.run(
            [sys.executable, *map(str, command)],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    shown(APP, "-m", "shots=0,1", "do=ok,raise", "launcher.n_jobs=2", code=1)
    again = shown("-m", "rlvr", "resume", code=1)
    assert f"Going on with {tmp_path}/sweeps/" in again
    assert "kept: #0 shots=0 do=ok; #2 shots=1 do=ok" in again
    assert "run again: #1 shots=0 do=raise (failed); #3 shots=1 do=raise (failed)" in again
    assert len(manifest.load(manifest.find("last", root=tmp_path / "sweeps")).jobs) == 4
