"""The service's limits, as its documentation lists them."""

import boto3
import pytest

from rlvr.errors import UserError
from rlvr.launchers.sagemaker.constraints import check_request


@pytest.fixture(scope="module")
def model():
    return boto3.client("sagemaker", region_name="us-east-1").meta.service_model


def request(**changes):
    return {
        "TrainingJobName": "name",
        "RoleArn": "arn:aws:iam::123456789012:role/x",
        "OutputDataConfig": {"S3OutputPath": "s3://b/x"},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    } | changes


def test_a_good_request_passes(model):
    check_request(request(Environment={"A": "x" * 512}), model)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"TrainingJobName": "a" * 64}, "TrainingJobName': length 64 must be <= 63"),
        ({"TrainingJobName": "Qwen2.5"}, "does not match"),
        ({"TrainingJobName": "-a"}, "does not match"),
        ({"Environment": {"A": "x" * 513}}, "Environment.A': length 513 must be <= 512"),
        ({"Environment": {str(i): "" for i in range(101)}}, "length 101 must be <= 100"),
        ({"Environment": {"9A": "x"}}, "does not match"),
        ({"HyperParameters": {"a": "x" * 2501}}, "length 2501 must be <= 2500"),
        ({"Tags": [{"Key": "k", "Value": "a,b"}]}, "Tags.0.Value': 'a,b' does not match"),
        ({"Tags": [{"Key": "k", "Value": "é 4.:/=+-@_"}] * 51}, "length 51 must be <= 50"),
        ({"Tags": [{"Key": "k" * 129, "Value": ""}]}, "length 129 must be <= 128"),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": 0}}, "value 0 must be >= 1"),
        ({"ResourceConfig": {"InstanceType": "ml.g99.huge"}}, "allowed values"),
        ({"RoleArn": "role"}, "RoleArn"),
        ({"Enviroment": {}}, "'Enviroment' is unknown"),
    ],
)
def test_what_the_service_would_refuse(model, changes, problem):
    with pytest.raises(UserError) as caught:
        check_request(request(**changes), model)
    assert problem in str(caught.value)


def test_missing_fields_are_named(model):
    with pytest.raises(UserError, match="'OutputDataConfig' is missing"):
        check_request({"TrainingJobName": "a", "RoleArn": request()["RoleArn"]}, model)


def test_spot_needs_a_wait_limit_and_checkpoints(model):
    with pytest.raises(UserError) as caught:
        check_request(request(EnableManagedSpotTraining=True), model)
    assert "max_wait >= launcher.max_runtime" in str(caught.value)
    assert "CheckpointConfig" in str(caught.value)
    waiting = {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60}
    with pytest.raises(UserError, match=r"launcher\.spot=true"):
        check_request(request(StoppingCondition=waiting), model)
