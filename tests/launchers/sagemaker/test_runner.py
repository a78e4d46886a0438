"""What is checked before a sweep creates anything, and what errors of AWS mean."""

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from moto import mock_aws

from rlvr.errors import UserError
from rlvr.launchers.sagemaker.runner import SageMakerRunner
from rlvr.launchers.sagemaker.service import explain, is_busy
from rlvr.manifest import Job
from rlvr.states import State

SETTINGS = {"role": "arn:aws:iam::123456789012:role/x", "region": "us-east-1", "bucket": "mine"}


@pytest.fixture
def aws(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    with mock_aws():
        yield


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
def test_which_jobs_a_resumed_sweep_waits_for(monkeypatch, statuses, attachable):
    runner, left = SageMakerRunner(), list(statuses)
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr(runner, "_status", lambda name: left.pop(0))
    remote = {
        "name": "job",
        "region": "us-east-1",
        "bucket": "b",
        "job_key": "k",
        "instance_type": "ml.g6.xlarge",
    }
    job = Job(0, "a", "h", [], "0", State.running, remote=remote)
    assert runner.attachable(job) is attachable


def client_error(code, status=400):
    response = {
        "Error": {"Code": code, "Message": "text"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, "CreateTrainingJob")


@pytest.mark.parametrize(
    ("error", "busy"),
    [
        (client_error("ThrottlingException"), True),
        (client_error("SlowDown", 503), True),
        (client_error("Whatever", 502), True),
        (EndpointConnectionError(endpoint_url="https://x"), True),
        (client_error("ValidationException"), False),
        (client_error("AccessDeniedException"), False),
        (NoCredentialsError(), False),
    ],
)
def test_what_is_worth_trying_again(error, busy):
    assert is_busy(error) is busy


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (client_error("AccessDeniedException"), "docs/sagemaker.md"),
        (client_error("ExpiredTokenException"), "launcher.resume=last"),
        (client_error("ResourceLimitExceeded"), "Service Quotas"),
        (NoCredentialsError(), "aws sso login"),
    ],
)
def test_errors_come_with_advice(error, advice):
    assert advice in explain(error)
