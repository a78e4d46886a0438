"""What is checked before a sweep creates anything; whole sweeps are in test_sweep*.py."""

import io
import itertools
import os
import pty
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from rlvr.errors import UserError
from rlvr.launchers.sagemaker import runner as runner_module
from rlvr.launchers.sagemaker.runner import SageMakerRunner
from rlvr.launchers.sagemaker.service import Service
from rlvr.manifest import Job
from rlvr.states import State
from rlvr.sweep.interrupts import Interrupts

SETTINGS = {"role": "arn:aws:iam::123456789012:role/x", "region": "us-east-1", "bucket": "mine"}


@pytest.fixture
def prepare(submission, sweep):
    """Prepare a sweep whose jobs have these settings."""
    counted = itertools.count()

    def prepare(runner, *every, config=None):
        made = [submission(next(counted), config, requirements=None) for _ in every]
        for one, settings in zip(made, every, strict=True):
            one.job.config.launcher = {**SETTINGS, "requirements": None, **settings}
        runner.prepare(every[0], [one.job for one in made], sweep)

    return prepare


@pytest.mark.usefixtures("aws")
def test_prepare_checks_the_bucket(prepare):
    runner = SageMakerRunner()
    with pytest.raises(UserError, match=r"bucket mine: 404: Not Found \(create it"):
        prepare(runner, SETTINGS)
    runner.service.s3.create_bucket(Bucket="mine")
    prepare(runner, SETTINGS)
    runner.service.s3.create_bucket(Bucket="sagemaker-us-east-1-123456789012")
    prepare(runner, {"bucket": None})
    assert runner.builder.storage.bucket == "sagemaker-us-east-1-123456789012"


def test_prepare_without_region_or_credentials(prepare, monkeypatch, tmp_path):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(UserError, match="no AWS region"):
        prepare(SageMakerRunner(), {"region": None})
    with pytest.raises(UserError, match="no AWS credentials: run `aws configure`"):
        prepare(SageMakerRunner(), SETTINGS)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    runner = SageMakerRunner()
    with pytest.raises(UserError, match="credentials"):
        prepare(runner, {"region": None})
    assert runner.service.region == "eu-west-1"


@pytest.mark.usefixtures("aws")
def test_a_mistyped_region_is_a_message(prepare):
    with pytest.raises(UserError, match=r"launcher\.region=us-eest-1: .* did you mean .*us-east-1"):
        prepare(SageMakerRunner(), {"region": "us-eest-1"})


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("region", ["us-east-1", "eu-west-1"]),
        ("bucket", ["a", "b"]),
        ("prefix", ["a", "b"]),
        ("n_jobs", [1, 2]),
        ("max_cost", [1, 200]),
    ],
)
def test_what_holds_for_a_sweep_cannot_be_swept(prepare, key, values):
    message = rf"launcher\.{key} holds for a whole sweep and cannot be swept \({values[0]}"
    with pytest.raises(UserError, match=message):
        prepare(SageMakerRunner(), *({key: value} for value in values))


@pytest.mark.usefixtures("aws")
def test_a_sweep_that_may_cost_too_much_is_refused(prepare):
    eight = [{"max_cost": 20, "bucket": "mine"}] * 8
    with pytest.raises(UserError, match=r"may cost \$49\.21, more than launcher\.max_cost=20"):
        prepare(SageMakerRunner(), *eight)
    with pytest.raises(UserError, match=r"the price of ml\.c7i\.large .* is not known"):
        prepare(SageMakerRunner(), {"max_cost": 20, "instance_type": "ml.c7i.large"})
    with pytest.raises(UserError, match="bucket mine"):  # the next thing to be checked
        prepare(SageMakerRunner(), *eight[:3])


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
    runner.service = Service("us-east-1")
    monkeypatch.setattr(runner, "_status", lambda training: left.pop(0))
    job = Job(0, "a", "h", [], "0", State.running, remote=training().entry())
    assert runner.attachable(job) is attachable


def test_a_job_of_another_region_is_not_taken_for_lost(training):
    runner = SageMakerRunner()
    runner.service = Service("eu-west-1")
    job = Job(0, "a", "h", [], "0", State.running, remote=training().entry())
    with pytest.raises(UserError, match=r"resume the sweep with launcher\.region=us-east-1"):
        runner.attachable(job)


def test_what_an_unwatched_job_has_cost_is_kept(training, monkeypatch):
    """It went on after its controller had died, and runs again."""
    runner = SageMakerRunner()
    runner.service = Service("us-east-1")
    start = datetime(2030, 1, 1, tzinfo=UTC)
    described = {"TrainingJobStatus": "Failed", "SecondaryStatus": "Failed"}
    described |= {"TrainingStartTime": start, "BillableTimeInSeconds": 3600}
    monkeypatch.setattr(runner.service, "describe", lambda name: described)
    job = Job(0, "a", "h", [], "0", State.running, remote=training(cost=0.01).entry())
    assert not runner.attachable(job)
    assert job.remote["cost"] == pytest.approx(1.127)


class Jobs:
    """A queue and a watch in one, of jobs that run until they are stopped; `looks` are what it sees
    in the next turns: jobs that have ended, and jobs to be submitted again."""

    looks: list[tuple[int, list[str]]] = []

    def __init__(self, running=2, waiting=0, on_interrupt="stop"):
        self.running = [SimpleNamespace(settings=SimpleNamespace(on_interrupt=on_interrupt))]
        self.running *= running
        self.waiting, self.draining, self.did = [object()] * waiting, [], []

    def submit_next(self, running):
        return None

    def leave(self):
        self.waiting.clear()

    def look(self):
        ended, again = self.looks.pop(0) if self.looks else (0, [])
        del self.running[: ended + len(again)]
        return again

    def again(self, submission):
        self.did.append(f"{submission} again")

    def an_instance_is_free(self):
        self.did.append("free")

    def drain(self):
        pass

    def give_back(self):
        self.given_back = True

    def stops_too_long(self):
        return False

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
        turns = itertools.count()

        def sleep(_):
            assert next(turns) < 100, "the loop does not end"
            if moments:
                interrupts.count += moments.pop(0)
            else:
                jobs.running.clear()  # they have ended

        monkeypatch.setattr("time.sleep", sleep)
        runner_module.loop(jobs, jobs, interrupts)
        return jobs

    return run


@pytest.mark.parametrize(
    ("look", "did"),
    [
        ((1, []), ["free"]),
        ((0, ["#0"]), ["#0 again"]),
        ((1, ["#0"]), ["free", "#0 again"]),
        ((0, []), []),
    ],
)
def test_an_end_frees_an_instance_a_lack_of_capacity_does_not(interrupted, look, did):
    jobs = Jobs(running=2)
    jobs.looks = [look]
    assert interrupted(jobs, first=0).did == did


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
