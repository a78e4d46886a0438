"""What the emulated service refuses, without a container."""

import boto3
import pytest

from sagemaker_emulator.validation import refusals


@pytest.fixture(scope="module")
def model():
    return boto3.client("sagemaker", region_name="us-east-1").meta.service_model


def request(**changes):
    machine = {"InstanceType": "ml.g6.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30}
    return {
        "TrainingJobName": "name",
        "RoleArn": "arn:aws:iam::123456789012:role/x",
        "AlgorithmSpecification": {"TrainingImage": "i", "TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": "s3://b/x"},
        "ResourceConfig": machine | changes.pop("machine", {}),
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    } | changes


def test_a_good_request_is_taken(model):
    tags = [{"Key": "k", "Value": "é 4.:/=+-@_"}]
    good = request(Environment={"A": "x" * 512}, Tags=tags, machine={"KeepAlivePeriodInSeconds": 9})
    assert refusals("CreateTrainingJob", good, model) == []


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"TrainingJobName": "Qwen2.5"}, "pattern"),
        ({"TrainingJobName": "a" * 64}, "at most 63"),
        ({"RoleArn": "role"}, "valid min length: 20"),
        ({"Environment": {"A": "x" * 513}}, "at most 512"),
        ({"Environment": {"A": 1}}, "Invalid type"),
        ({"Enviroment": {}}, "Unknown parameter"),
        ({"Tags": [{"Key": "k", "Value": "a,b"}]}, "pattern"),
        ({"machine": {"InstanceType": "ml.g99.huge"}}, "enum"),
        ({"machine": {"VolumeKmsKeyId": "k"}}, "local storage"),
        ({"StoppingCondition": {"MaxWaitTimeInSeconds": 9}}, "requires EnableManagedSpot"),
        ({"EnableManagedSpotTraining": True}, "MaxWaitTimeInSeconds"),
        (
            {"EnableManagedSpotTraining": True, "machine": {"KeepAlivePeriodInSeconds": 9}},
            "not supported for managed spot",
        ),
        ({"OutputDataConfig": {}}, "Missing required parameter"),
        ({"RoleArn": "arn:aws:iam::1234:role/much-too-short"}, "pattern"),
        ({"Environment": {f"A{n}": "" for n in range(101)}}, "at most 100"),
        ({"Environment": {"1A": ""}}, "pattern"),
        ({"HyperParameters": {f"a{n}": "" for n in range(101)}}, "at most 100"),
        ({"HyperParameters": {"a": "x" * 2501}}, "at most 2500"),
        ({"Tags": [{"Key": f"k{n}", "Value": ""} for n in range(51)]}, "at most 50"),
        ({"Tags": [{"Key": "k" * 129, "Value": ""}]}, "at most 128"),
        ({"Tags": [{"Key": "k", "Value": "v" * 257}]}, "at most 256"),
        ({"Tags": [{"Key": "k", "Value": "1"}, {"Key": "k", "Value": "2"}]}, "unique"),
        ({"Tags": [{"Key": "aws:k", "Value": "v"}]}, "for AWS itself"),
        ({"machine": {"KeepAlivePeriodInSeconds": 3601}}, "at most 3600"),
        ({"machine": {"InstanceCount": 0}}, "InstanceCount are needed"),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": 2419201}}, "28 days"),
    ],
)
def test_what_the_service_refuses(model, changes, why):
    assert why in " ".join(refusals("CreateTrainingJob", request(**changes), model))
