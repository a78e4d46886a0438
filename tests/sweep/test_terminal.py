import io
import json
import math
from pathlib import Path

import pytest
from rich.console import Console

from rlvr.manifest import Job
from rlvr.states import State
from rlvr.sweep.terminal import Terminal, progress


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
    terminal = Terminal(Console(file=io.StringIO()))
    with terminal.watching([(changed, Path())], "trained/accuracy"):
        terminal.changed(changed)
    assert capsys.readouterr().out == line + "\n"


def test_progress_of_a_job(tmp_path):
    assert progress(tmp_path) == ""
    (tmp_path / "progress.json").write_text("{")
    assert progress(tmp_path) == ""
    state = {"phase": "train", "step": 12, "max_steps": 40, "reward": 0.614, "eta_s": 125.3}
    (tmp_path / "progress.json").write_text(json.dumps(state))
    assert progress(tmp_path) == "train 12/40  reward 0.61  2m 05s left"
    (tmp_path / "progress.json").write_text(json.dumps({"phase": "base", "step": 1}))
    assert progress(tmp_path) == "base 1/?"


def test_a_terminal_shows_the_running_jobs(tmp_path):
    out = io.StringIO()
    terminal = Terminal(Console(file=out, force_terminal=True, width=80, highlight=False))
    (tmp_path / "progress.json").write_text('{"phase": "train", "step": 1, "max_steps": 2}')
    running, waiting = job(State.running, ended=None, name="a=[b]"), job(State.pending)
    with terminal.watching([(running, tmp_path), (waiting, tmp_path)], "value"):
        terminal.changed(running)
    assert "#3 a=[b]  train 1/2" in out.getvalue()
    assert "1 pending, 1 running" in out.getvalue()
