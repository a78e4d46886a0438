import io
import json
import math
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from rlvr.manifest import Job
from rlvr.states import State
from rlvr.sweep import terminal
from rlvr.sweep.remaining import read_progress, seconds_left
from rlvr.sweep.terminal import Terminal, fitting, rows


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


def report(directory: Path, **values) -> Path:
    directory.mkdir(exist_ok=True)
    (directory / "progress.json").write_text(json.dumps(values))
    return directory


def running(index: int, directory: Path, minutes: float, name: str = "shots=4") -> Job:
    began = datetime.now(UTC) - timedelta(minutes=minutes)
    return Job(index, name, "h", [], "d", State.running, started=began.isoformat(),
               directory=directory)  # fmt: skip


TRAINING = {"phase": "training", "step": 12, "max_steps": 40, "reward": 0.614}


def test_progress_of_a_job_gives_way_where_it_is_narrow(tmp_path):
    state = {**TRAINING, "ends_at": time.time() + 125.4}
    assert fitting(state, 60) == "training 12/40  ends in 2m 05s  reward 0.61"
    assert fitting(state, 40) == "training 12/40  ends in 2m 05s"
    assert fitting(state, 20) == "training 12/40"
    assert fitting(state, 5) == "train"
    assert fitting({"phase": "data", "max_steps": 0}, 60) == "data"
    assert fitting({}, 60) == "starting"


def test_an_end_that_has_passed_is_not_shown(tmp_path):
    """No `0.0s left` that stands while the job saves and is evaluated."""
    assert fitting({**TRAINING, "ends_at": time.time() - 1}, 60) == "training 12/40  reward 0.61"


def test_a_report_that_is_not_there_or_torn(tmp_path):
    assert read_progress(tmp_path) == {}
    (tmp_path / "progress.json").write_text("{")
    assert read_progress(tmp_path) == {}


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_labels_are_never_cut(tmp_path, width):
    report(tmp_path, **TRAINING, ends_at=time.time() + 1e5)
    names = ["shots=2 lr=3e-4 beta=0.04 loss_type=dr_grpo", "shots=16 lr=1e-5 loss_type=grpo"]
    lines = rows([running(n, tmp_path, 70, name) for n, name in enumerate(names)], width)
    assert all(any(name in line for line in lines) for name in names)
    assert all(len(line) <= max(width, 46) for line in lines)
    assert sum("training 12/40" in line for line in lines) == 2


def test_one_estimate_for_the_whole_sweep(tmp_path):
    done = job(State.finished, ended="2025-01-01T00:10:00+00:00")  # took ten minutes
    silent = running(1, tmp_path / "silent", 4)
    telling = running(2, report(tmp_path / "telling", ends_at=time.time() + 120), 8)
    waiting = [job(State.pending) for _ in range(3)]
    assert seconds_left([silent, *waiting]) is None
    assert seconds_left([done, silent]) == pytest.approx(6 * 60, abs=2)
    assert seconds_left([done, silent, telling]) == pytest.approx(6 * 60, abs=2)
    # the three go to whichever place is free first: after 2, 6 and 12 minutes
    assert seconds_left([done, silent, telling, *waiting]) == pytest.approx(22 * 60, abs=2)
    assert seconds_left([done, job(State.pending)]) is None


def test_a_terminal_shows_the_running_jobs(tmp_path):
    out = io.StringIO()
    shown = Terminal(Console(file=out, force_terminal=True, width=80, highlight=False))
    one = running(3, report(tmp_path, phase="training", step=1, max_steps=2), 0, "a=[b]")
    with shown.watching([one, job(State.pending)], "value"):
        shown.changed(one)
    assert "#3 a=[b]  training 1/2" in out.getvalue()
    assert "1 not started, 1 running" in out.getvalue()


def test_a_pipe_hears_of_the_rest_when_a_job_ends_and_now_and_then(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(terminal, "REMINDER", 0.05)
    shown = Terminal(Console(file=io.StringIO()))
    done = job(State.finished, ended="2025-01-01T00:10:00+00:00")
    with shown.watching([done, running(1, tmp_path, 4)], "value"):
        shown.changed(done)
        time.sleep(0.2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "#3 shots=4 finished in 10m 00s"
    assert len(lines) > 2
    assert all(re.match(r"1 running, 1 finished; ends in \dm \d\ds", line) for line in lines[1:])


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
