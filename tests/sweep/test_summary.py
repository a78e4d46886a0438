from pathlib import Path

from rlvr.manifest import Job
from rlvr.states import State
from rlvr.sweep import summary


def job(index: int, state: State = State.failed, error: str | None = "ValueError: bad") -> Job:
    return Job(index, f"shots={index}", "h", [], str(index), state=state, error=error)


def test_resume_command_replaces_an_earlier_one(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    command = ["python", "train.py", "-m", "a=choice(1, 2)", "launcher.resume=last"]
    again = summary.resume_command(command, tmp_path / "sweeps" / "1")
    assert again == "python train.py -m 'a=choice(1, 2)' launcher.resume=sweeps/1"


def test_the_same_error_is_told_once(tmp_path):
    traceback = "Traceback:\n  many\n  lines\n\nValueError: bad\n"
    jobs = [(job(i), tmp_path / str(i) / "train.log", traceback) for i in range(5)]
    told = summary.unfinished(jobs)
    assert told.count("ValueError: bad") == 1
    assert told.count("log:") == 3
    assert [f"#{i} shots={i}: failed" in told for i in range(5)] == [True] * 5


def test_without_traceback_the_log_is_quoted(tmp_path):
    log = tmp_path / "train.log"
    log.write_text("".join(f"line {i}\n" for i in range(100)))
    told = summary.unfinished([(job(0, error="died with signal 9"), log, None)])
    assert "line 99\n    died with signal 9" in told
    assert "line 90" not in told
    missing = summary.unfinished([(job(0, error=None), Path("/nowhere"), None)])
    assert "no reason known" in missing


def test_counts_and_failure(tmp_path):
    jobs = [job(0, State.finished), job(1), job(2, State.pending), job(3)]
    assert summary.counts(jobs) == "1 not started, 1 finished, 2 failed"
    assert "2 of 4 jobs did not finish (#1, #3)" in summary.failure(tmp_path, [jobs[1], jobs[3]], 4)
    many = summary.failure(tmp_path, [job(i) for i in range(20)], 20)
    assert "#7, ..." in many
