"""SageMaker's own MLflow: answers in botocore's shapes, and what is made of them."""

import boto3
import pytest
from botocore.stub import Stubber

from rlvr.errors import UserError
from rlvr.launchers.sagemaker import managed_mlflow
from rlvr.launchers.sagemaker.service import Service

ACCOUNT = "arn:aws:sagemaker:eu-west-1:123456789012"
SERVER = f"{ACCOUNT}:mlflow-tracking-server/mine"
APP = f"{ACCOUNT}:mlflow-app/app-ABCDEFGHIJKL"
ASKED = {
    SERVER: ("describe_mlflow_tracking_server", {"TrackingServerName": "mine"}),
    APP: ("describe_mlflow_app", {"Arn": APP}),
}


@pytest.fixture
def stub():
    """The SageMaker of eu-west-1, where the ARNs are from."""
    client = boto3.client(
        "sagemaker", "eu-west-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def check(uri, stub):
    def service(region):
        assert region == "eu-west-1"
        made = Service(region)
        made.__dict__["sagemaker"] = stub.client
        return made

    managed_mlflow.check(uri, service)


@pytest.mark.parametrize(
    ("uri", "answer"),
    [
        (SERVER, {"TrackingServerStatus": "Created", "IsActive": "Active"}),
        (SERVER, {"TrackingServerStatus": "Started", "IsActive": "Active"}),
        (APP, {"Status": "Created"}),
        (APP, {"Status": "Updated"}),
    ],
)
def test_one_that_runs_can_be_used(stub, uri, answer):
    operation, asked = ASKED[uri]
    stub.add_response(operation, answer, asked)
    check(uri, stub)


@pytest.mark.parametrize(
    ("uri", "answer", "said"),
    [
        (SERVER, {"TrackingServerStatus": "Stopped", "IsActive": "Inactive"}, "is Stopped, inac"),
        (SERVER, {"TrackingServerStatus": "Created", "IsActive": "Inactive"}, "is Created, inac"),
        (SERVER, {"TrackingServerStatus": "Creating"}, "is Creating, so jobs could not report"),
        (APP, {"Status": "Deleted"}, "is Deleted, so jobs could not report to it"),
    ],
)
def test_one_that_does_not_is_refused_with_what_starts_it(stub, uri, answer, said):
    operation, asked = ASKED[uri]
    stub.add_response(operation, answer, asked)
    with pytest.raises(UserError) as refused:
        check(uri, stub)
    message = str(refused.value)
    assert message.startswith(f"tracking.uri={uri}: SageMaker's MLflow {said}")
    start = "start-mlflow-tracking-server --region eu-west-1 --tracking-server-name mine"
    assert (start in message) is (uri == SERVER), "an app is always on"


@pytest.mark.parametrize("uri", [SERVER, APP])
def test_one_that_is_not_there_is_refused(stub, uri):
    stub.add_client_error(ASKED[uri][0], "ResourceNotFound", "no such thing", 400)
    with pytest.raises(UserError, match=r"cannot be used: ResourceNotFound: no such thing"):
        check(uri, stub)


def test_which_stores_are_sagemakers_own():
    assert managed_mlflow.is_managed(SERVER)
    assert managed_mlflow.is_managed(APP)
    for other in (
        "None",
        "sqlite:///mlflow.db",
        "https://mlflow.example.org",
        f"{ACCOUNT}:model/x",
    ):
        assert not managed_mlflow.is_managed(other)
