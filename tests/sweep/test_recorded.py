"""A sweep by its record alone: how its end is told, and what may go wrong on the way."""

import boto3
import pytest
from moto import mock_aws

from rlvr.manifest import Job, Manifest, load
from rlvr.result import Result
from rlvr.states import State
from rlvr.sweep.interrupts import Interrupts
from rlvr.sweep.recorded import RecordedSweep, overall
from rlvr.sweep.transport import ResolvedConfig


@pytest.fixture
def sweep(tmp_path):
    """One job has finished, one has failed."""
    command = ["python", "train.py", "-m", "shots=0,2"]
    record = Manifest("1", "night", "2025", "local", command, ResolvedConfig.metric)
    made = RecordedSweep(tmp_path, ResolvedConfig("rlvr.worker"), record)
    results = [Result(State.finished, 0.5, shots=0), Result(State.failed, error="out of memory")]
    for index, result in enumerate(results):
        job = Job(index, f"shots={2 * index}", "h", [f"shots={2 * index}"], str(index))
        job.directory = tmp_path / job.dir
        job.directory.mkdir()
        record.jobs.append(job)
        made.started(job)
        made.ended(job, result)
    return made


def finish(sweep, capsys):
    sweep.finish(sweep.record.jobs, Interrupts())
    return capsys.readouterr().out


def test_the_end_is_told_with_every_job(sweep, tmp_path, capsys):
    told = tmp_path / "told"
    sweep.notify = f'echo "$RLVR_SUBJECT" > {told}; cat >> {told}'
    finish(sweep, capsys)
    subject, again, *lines = told.read_text().splitlines()
    assert subject == again == "rlvr night: 1 finished, 1 failed"
    assert lines == ["#0 shots=0: finished 0.5", "#1 shots=2: failed out of memory", str(tmp_path)]


@pytest.mark.parametrize("target", ["exit 7", "arn:aws:sns:us-east-1:123456789012:nothing-there"])
def test_a_message_that_cannot_be_sent_hides_nothing(sweep, caplog, capsys, monkeypatch, target):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    sweep.notify = target
    with mock_aws():
        assert boto3.client("sns", region_name="us-east-1").list_topics()["Topics"] == []
        output = finish(sweep, capsys)
    assert "no message was sent" in caplog.text
    assert "out of memory" in output
    assert "1 finished, 1 failed. To run what is missing" in output
    assert (sweep.directory / "report.html").is_file()
    assert [job.state for job in load(sweep.directory).jobs] == ["finished", "failed"]


def test_nobody_is_told_where_nobody_asked(sweep, capsys, monkeypatch):
    monkeypatch.setattr("rlvr.sweep.recorded.send", None)
    assert "To run what is missing" in finish(sweep, capsys)


def test_a_sweep_that_goes_on_has_no_end_yet(sweep, capsys, tmp_path):
    sweep.notify, sweep.goes_on = f"touch {tmp_path / 'told'}", True
    assert finish(sweep, capsys) == ""
    assert not (tmp_path / "told").exists()
    assert not (tmp_path / "report.html").exists()


def jobs(*states: str, remote: bool = False) -> list[Job]:
    entry = {"id": "1"} if remote else None
    return [Job(i, "n", "h", [], "0", State(s), remote=entry) for i, s in enumerate(states)]


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ("finished finished", "finished"),
        ("finished failed killed", "failed"),
        ("finished killed", "killed"),
        ("finished pending", "killed"),
        ("finished lost", "killed"),
    ],
)
def test_the_sweeps_own_state(states, expected):
    assert overall(jobs(*states.split())) == expected


def test_a_sweep_with_jobs_left_to_go_on_still_runs():
    assert overall(jobs("failed") + jobs("running", remote=True)) is State.running
