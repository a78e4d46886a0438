import io
import json
import math
from pathlib import Path

import pytest
from rich.console import Console

from rlvr.manifest import Job
from rlvr.states import State
from rlvr.sweep import terminal
from rlvr.sweep.terminal import Terminal, last_progress


def job(state: State, **values) -> Job:
    times = {"started": "2025-01-01T00:00:00+00:00", "ended": "2025-01-01T00:00:41+00:00"}
    known = {"index": 3, "name": "shots=4", "hash": "h", "overrides": [], "dir": "3", **times}
    return Job(state=state, **{**known, **values})


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        (job(State.running), "#3 shots=4 running"),
        (job(State.finished, value=0.83), "#3 shots=4 finished in 41s: accuracy 0.83"),
        (job(State.finished, value=math.nan), "#3 shots=4 finished in 41s: accuracy nan"),
        (job(State.finished), "#3 shots=4 finished in 41s"),
        (job(State.failed, error="E: bad\nmore"), "#3 shots=4 failed after 41s: E: bad"),
        (
            job(State.killed, ended="2025-01-01T01:01:01+00:00"),
            "#3 shots=4 killed after 1h 01m: no reason known",
        ),
    ],
)
def test_a_change_is_one_line(capsys, changed, line):
    shown = Terminal(Console(file=io.StringIO()))
    with shown.watching([changed], "trained/accuracy"):
        shown.changed(changed)
    assert capsys.readouterr().out == line + "\n"


def test_progress_of_a_job(tmp_path):
    assert last_progress(tmp_path) == ""
    (tmp_path / "progress.json").write_text("{")
    assert last_progress(tmp_path) == ""
    state = {"phase": "train", "step": 12, "max_steps": 40, "reward": 0.614, "eta_s": 125.3}
    (tmp_path / "progress.json").write_text(json.dumps(state))
    assert last_progress(tmp_path) == "train 12/40  reward 0.61  2m 05s left"
    (tmp_path / "progress.json").write_text(json.dumps({"phase": "base", "step": 1}))
    assert last_progress(tmp_path) == "base 1/?"


def test_a_terminal_shows_the_running_jobs(tmp_path):
    out = io.StringIO()
    shown = Terminal(Console(file=out, force_terminal=True, width=80, highlight=False))
    (tmp_path / "progress.json").write_text('{"phase": "train", "step": 1, "max_steps": 2}')
    running, waiting = (
        job(State.running, ended=None, name="a=[b]", directory=tmp_path),
        job(State.pending),
    )
    with shown.watching([running, waiting], "value"):
        shown.changed(running)
    assert "#3 a=[b]  train 1/2" in out.getvalue()
    assert "1 not started, 1 running" in out.getvalue()


def failed(index: int, state: State = State.failed, error: str | None = "ValueError: bad") -> Job:
    return Job(index, f"shots={index}", "h", [], str(index), state=state, error=error)


def test_resume_command_replaces_an_earlier_one(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    command = ["python", "train.py", "-m", "a=choice(1, 2)", "launcher.resume=last"]
    again = terminal.resume_command(command, tmp_path / "sweeps" / "1")
    assert again == "python train.py -m 'a=choice(1, 2)' launcher.resume=sweeps/1"


def test_the_same_error_is_told_once(tmp_path):
    traceback = "Traceback:\n  many\n  lines\n\nValueError: bad\n"
    jobs = [(failed(i), tmp_path / str(i) / "train.log", traceback) for i in range(5)]
    told = terminal.errors(jobs)
    assert told.count("ValueError: bad") == 1
    assert told.count("log:") == 3
    assert [f"#{i} shots={i}: failed" in told for i in range(5)] == [True] * 5


def test_without_traceback_the_log_is_quoted(tmp_path):
    log = tmp_path / "train.log"
    log.write_text("".join(f"line {i}\n" for i in range(100)))
    told = terminal.errors([(failed(0, error="died with signal 9"), log, None)])
    assert "line 99\n    died with signal 9" in told
    assert "line 90" not in told
    missing = terminal.errors([(failed(0, error=None), Path("/nowhere"), None)])
    assert "no reason known" in missing


def test_counts_and_failure(tmp_path):
    jobs = [failed(0, State.finished), failed(1), failed(2, State.pending), failed(3)]
    assert terminal.counts(jobs) == "1 not started, 1 finished, 2 failed"
    assert "2 of 4 jobs did not finish (#1, #3)" in terminal.failure(
        tmp_path, [jobs[1], jobs[3]], 4
    )
    many = terminal.failure(tmp_path, [failed(i) for i in range(20)], 20)
    assert "#7, ..." in many
