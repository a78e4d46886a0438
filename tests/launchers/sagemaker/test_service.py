"""What errors of AWS mean for a job."""

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from rlvr.launchers.sagemaker.service import Service, explain, is_busy, is_unsure


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


@pytest.mark.parametrize(
    ("error", "unsure"),
    [
        (client_error("InternalFailure", 500), True),
        (EndpointConnectionError(endpoint_url="https://x"), True),
        (client_error("ThrottlingException"), False),
    ],
)
def test_what_may_have_been_carried_out_all_the_same(error, unsure):
    assert is_unsure(error) is unsure


def test_an_error_from_elsewhere_is_named():
    assert explain(OSError("disk full")) == "OSError: disk full"
    warm = client_error("ResourceLimitExceeded")
    warm.response["Error"]["Message"] = "the limit for training warm pool usage is 0"
    assert "launcher.warm_pool=0" in explain(warm)


def test_links_and_commands_name_region_and_job():
    service = Service("eu-west-1")
    assert service.console("a-1").endswith("region=eu-west-1#/jobs/a-1")
    assert service.stop_command("a-1") == (
        "aws sagemaker stop-training-job --region eu-west-1 --training-job-name a-1"
    )
