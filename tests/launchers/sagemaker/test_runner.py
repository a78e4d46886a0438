"""What is checked before a sweep creates anything; whole sweeps are in test_sweep*.py."""

import io
import os
import pty
from types import SimpleNamespace

import pytest

from rlvr.errors import UserError
from rlvr.launchers.sagemaker import runner as runner_module
from rlvr.launchers.sagemaker.runner import SageMakerRunner
from rlvr.manifest import Job
from rlvr.states import State
from rlvr.sweep.interrupts import Interrupts

SETTINGS = {"role": "arn:aws:iam::123456789012:role/x", "region": "us-east-1", "bucket": "mine"}


@pytest.mark.usefixtures("aws")
def test_prepare_checks_the_bucket():
    runner = SageMakerRunner()
    with pytest.raises(UserError, match=r"bucket mine: 404: Not Found \(create it"):
        runner.prepare(SETTINGS, 1)
    runner.service.s3.create_bucket(Bucket="mine")
    runner.prepare(SETTINGS, 1)
    runner.service.s3.create_bucket(Bucket="sagemaker-us-east-1-123456789012")
    runner.prepare(SETTINGS | {"bucket": None}, 1)
    assert runner.storage.bucket == "sagemaker-us-east-1-123456789012"


def test_prepare_without_region_or_credentials(monkeypatch, tmp_path):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(UserError, match="no AWS region"):
        SageMakerRunner().prepare(SETTINGS | {"region": None}, 1)
    with pytest.raises(UserError, match="no AWS credentials: run `aws configure`"):
        SageMakerRunner().prepare(SETTINGS, 1)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    runner = SageMakerRunner()
    with pytest.raises(UserError, match="credentials"):
        runner.prepare(SETTINGS | {"region": None}, 1)
    assert runner.service.region == "eu-west-1"


@pytest.mark.parametrize(
    ("statuses", "attachable"),
    [
        (["InProgress"], True),
        (["Completed"], True),
        (["Failed"], False),
        (["Stopped"], False),
        ([None], False),
        (["Stopping", "Stopping", "Stopped"], False),
    ],
)
def test_which_jobs_a_resumed_sweep_waits_for(monkeypatch, training, statuses, attachable):
    runner, left = SageMakerRunner(), list(statuses)
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr(runner, "_status", lambda name: left.pop(0))
    job = Job(0, "a", "h", [], "0", State.running, remote=training().entry())
    assert runner.attachable(job) is attachable


class Jobs:
    """A queue and a watch in one, of jobs that run until they are stopped."""

    def __init__(self, running=2, waiting=0, on_interrupt="stop"):
        self.running = [SimpleNamespace(settings=SimpleNamespace(on_interrupt=on_interrupt))]
        self.running *= running
        self.waiting, self.draining, self.did = [object()] * waiting, [], []

    def submit_next(self, running):
        return None

    def look(self):
        return []

    def drain(self):
        pass

    def stop_all(self):
        self.did.append("stopped")

    def name_running(self, why):
        self.did.append(why)


@pytest.fixture
def interrupted(monkeypatch):
    """Run the loop, with Ctrl-C before its first turns and then before later ones."""

    def run(jobs, *, first=1, later=()):
        interrupts = Interrupts()
        interrupts.count, moments = first, list(later)

        def sleep(_):
            if moments:
                interrupts.count += moments.pop(0)
            else:
                jobs.running.clear()  # they have ended

        monkeypatch.setattr("time.sleep", sleep)
        runner_module.loop(jobs, jobs, interrupts)
        return jobs

    return run


STOPPED = "these jobs were told to stop and are not waited for"


def test_the_first_ctrl_c_stops_and_waits(interrupted):
    jobs = interrupted(Jobs(waiting=3))
    assert jobs.did == ["stopped"]
    assert jobs.waiting == [], "what waits is not started"


def test_a_second_ctrl_c_leaves_and_names(interrupted):
    assert interrupted(Jobs(), later=[0, 1]).did == ["stopped", STOPPED]
    assert interrupted(Jobs(), first=2).did == ["stopped", STOPPED], "both before one was seen"


def test_detaching_leaves_at_once(interrupted):
    jobs = interrupted(Jobs(on_interrupt="detach"))
    assert jobs.did == ["these jobs go on without the launcher"]


def test_without_a_terminal_asking_means_stop(interrupted, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert interrupted(Jobs(on_interrupt="ask")).did == ["stopped"]


def test_with_nothing_running_there_is_nothing_to_answer(interrupted):
    assert interrupted(Jobs(running=0, waiting=2)).did == []


@pytest.mark.parametrize(("answer", "done"), [("d\n", "detach"), ("s\n", "stop"), ("\n", "stop")])
def test_the_user_is_asked(monkeypatch, answer, done):
    """Over a real terminal: stdin is one end of a pty."""
    leader, follower = pty.openpty()
    os.write(leader, answer.encode())
    with os.fdopen(follower) as terminal:
        monkeypatch.setattr("sys.stdin", terminal)
        assert runner_module.ask(2, Interrupts()) == done
    os.close(leader)
