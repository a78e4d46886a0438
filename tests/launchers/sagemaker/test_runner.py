"""What is checked before a sweep creates anything; whole sweeps are in test_sweep*.py."""

import itertools
import os
import pty
from datetime import UTC, datetime

import pytest

from rlvr.errors import UserError
from rlvr.launchers.sagemaker import managed_mlflow
from rlvr.launchers.sagemaker import runner as runner_module
from rlvr.launchers.sagemaker.runner import SageMakerRunner
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
        runner.prepare([one.job for one in made], sweep)

    return prepare


@pytest.mark.usefixtures("aws")
def test_prepare_checks_the_bucket(prepare):
    runner = SageMakerRunner()
    with pytest.raises(UserError, match=r"bucket mine: 404: Not Found \(create it"):
        prepare(runner, SETTINGS)
    s3 = runner.regions.service("us-east-1").s3
    s3.create_bucket(Bucket="mine")
    prepare(runner, SETTINGS)
    s3.create_bucket(Bucket="sagemaker-us-east-1-123456789012")
    prepare(runner, {"bucket": None})
    assert runner.regions.storage("us-east-1").bucket == "sagemaker-us-east-1-123456789012"
    with pytest.raises(UserError, match="bucket sagemaker-eu-west-1-123456789012: 404"):
        prepare(runner, {"bucket": None, "regions": ["eu-west-1"]})


@pytest.mark.usefixtures("regions")
def test_prepare_asks_for_sagemakers_own_mlflow(prepare, monkeypatch):
    asked, settings = [], {"bucket": "bucket"}
    monkeypatch.setattr(managed_mlflow, "check", lambda uri, service: asked.append(uri))
    uri = "arn:aws:sagemaker:us-east-1:123456789012:mlflow-tracking-server/mine"
    for store in (uri, "https://mlflow.example.org", None):
        prepare(SageMakerRunner(), settings, config={"tracking": {"name": "mlflow", "uri": store}})
    assert asked == [uri]


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
    assert runner.regions.home == "eu-west-1"


@pytest.mark.usefixtures("aws")
def test_a_mistyped_region_is_a_message(prepare):
    with pytest.raises(UserError, match=r"launcher\.region=us-eest-1: .* did you mean .*us-east-1"):
        prepare(SageMakerRunner(), {"region": "us-eest-1"})


def test_what_holds_for_a_sweep_cannot_be_swept(prepare):
    message = r"launcher\.max_cost holds for a whole sweep and cannot be swept \(1.0, 200.0\)"
    with pytest.raises(UserError, match=message):
        prepare(SageMakerRunner(), {"max_cost": 1}, {"max_cost": 200})


@pytest.mark.usefixtures("aws")
def test_a_sweep_that_may_cost_too_much_is_refused(prepare):
    eight = [{"max_cost": 20, "bucket": "mine"}] * 8
    with pytest.raises(UserError, match=r"may cost \$49\.21, more than launcher\.max_cost=20"):
        prepare(SageMakerRunner(), *eight)
    with pytest.raises(UserError, match=r"the price of ml\.c7i\.large .* is not known"):
        prepare(SageMakerRunner(), {"max_cost": 20, "instance_type": "ml.c7i.large"})
    with pytest.raises(UserError, match="bucket mine"):  # the next thing to be checked
        prepare(SageMakerRunner(), *eight[:3])


@pytest.mark.usefixtures("aws")
def test_a_resumed_sweep_is_not_refused_for_what_has_finished(prepare):
    """How much may still be spent is known once it is read; a price that is not known is not."""
    eight = [{"max_cost": 20, "resume": "last"}] * 8
    with pytest.raises(UserError, match="bucket mine"):
        prepare(SageMakerRunner(), *eight)
    with pytest.raises(UserError, match=r"the price of ml\.c7i\.large in us-east-1 is not known"):
        prepare(SageMakerRunner(), {**eight[0], "instance_type": "ml.c7i.large"})


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
    monkeypatch.setattr(runner, "_status", lambda training: left.pop(0))
    job = Job(0, "a", "h", [], "0", State.running, remote=training().entry())
    assert runner.attachable(job) is attachable
    assert (job.remote is None) is (statuses == [None]), (
        "one never made leaves its name to the next"
    )


def test_a_job_is_asked_for_where_it_runs(two_regions, training, monkeypatch):
    """And what it has cost since is kept: it went on after its controller had died."""
    runner = SageMakerRunner()
    runner.regions, there = two_regions, two_regions.service("eu-west-1")
    described = {"TrainingJobStatus": "Failed", "SecondaryStatus": "Failed"}
    start = datetime(2030, 1, 1, tzinfo=UTC)
    described |= {"TrainingStartTime": start, "BillableTimeInSeconds": 3600}
    monkeypatch.setattr(there, "describe", lambda name: described)
    remote = training(region="eu-west-1", cost=0.01).entry()
    job = Job(0, "a", "h", [], "0", State.running, remote=remote)
    assert not runner.attachable(job)
    assert job.remote["cost"] == pytest.approx(1.127)


@pytest.mark.parametrize(("answer", "done"), [("d\n", "detach"), ("s\n", "stop"), ("\n", "stop")])
def test_the_user_is_asked(monkeypatch, answer, done):
    """Over a real terminal: stdin is one end of a pty."""
    leader, follower = pty.openpty()
    os.write(leader, answer.encode())
    with os.fdopen(follower) as terminal:
        monkeypatch.setattr("sys.stdin", terminal)
        assert runner_module.ask(2, Interrupts()) == done
    os.close(leader)
