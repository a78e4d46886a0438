"""Requests by the real SDK: what is sent, what is uploaded, and how often the SDK is asked."""

import json
import subprocess
import sys
from dataclasses import replace

import boto3
import pytest
from moto import mock_aws

from rlvr.errors import UserError
from rlvr.launchers.sagemaker import request as request_module
from rlvr.launchers.sagemaker.request import JobSpec, RequestBuilder
from rlvr.launchers.sagemaker.service import Service
from rlvr.launchers.sagemaker.settings import Settings
from rlvr.launchers.sagemaker.storage import Storage

ROLE = "arn:aws:iam::123456789012:role/x"
SPEC = JobSpec(
    name="rlvr-1234-000-abc",
    instance_type="ml.g6.2xlarge",
    code_uri="s3://bucket/rlvr/code/abc/",
    channels={"job": "s3://bucket/rlvr/sweeps/1/000/input/", "dataset": "s3://bucket/d/"},
    output_uri="s3://bucket/rlvr/sweeps/1/000/output",
    checkpoint_uri="s3://bucket/rlvr/sweeps/1/000/checkpoints",
    environment={"A": 'it\'s "$HOME"'},
    tags={"rlvr.overrides": "shots=4,8"},
)


@pytest.fixture
def builder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    with mock_aws():
        service = Service.connect("us-east-1")
        service.s3.create_bucket(Bucket="bucket")
        yield RequestBuilder(service, Storage(service.s3, "bucket", "rlvr"))


def settings(**changes):
    return Settings.read({"role": ROLE, **changes})


def test_the_request(builder):
    made = builder.build(SPEC, settings(warm_pool=600, volume_gb=50))

    assert made["TrainingJobName"] == SPEC.name
    assert made["RoleArn"] == ROLE
    assert made["AlgorithmSpecification"]["ContainerEntrypoint"] == ["/bin/bash"]
    assert "pytorch-training:" in made["AlgorithmSpecification"]["TrainingImage"]
    channels = {
        c["ChannelName"]: c["DataSource"]["S3DataSource"]["S3Uri"] for c in made["InputDataConfig"]
    }
    drivers = channels.pop("sm_drivers")
    assert channels == SPEC.channels | {"code": SPEC.code_uri}
    assert made["ResourceConfig"] == {
        "InstanceType": "ml.g6.2xlarge",
        "InstanceCount": 1,
        "VolumeSizeInGB": 50,
        "KeepAlivePeriodInSeconds": 600,
    }
    assert made["StoppingCondition"] == {"MaxRuntimeInSeconds": 18_000}
    assert made["CheckpointConfig"]["LocalPath"] == "/opt/ml/checkpoints"
    assert made["Environment"] == {"A": 'it\'s "$HOME"'}
    assert made["Tags"] == [{"Key": "rlvr.overrides", "Value": "shots=4 8"}]
    assert "HyperParameters" not in made, "they would be shell code in the container"
    script = builder.storage.get(drivers.removeprefix("s3://bucket/") + "sm_train.sh").decode()
    assert "exec $SM_PYTHON_CMD -m rlvr.launchers.sagemaker.bootstrap" in script
    assert "tar -xzf code.tar.gz" in script
    assert "install_requirements.py requirements.txt" in script


def test_spot_network_and_keys(builder):
    made = builder.build(
        SPEC,
        settings(
            spot=True,
            max_runtime=100,
            subnets=["subnet-12345678"],
            security_groups=["sg-12345678"],
            network_isolation=True,
            encrypt_traffic=True,
            kms_key="alias/out",
            volume_kms_key="alias/disk",
            requirements=None,
        ),
    )
    assert made["EnableManagedSpotTraining"] is True
    assert made["StoppingCondition"] == {"MaxRuntimeInSeconds": 100, "MaxWaitTimeInSeconds": 200}
    assert "KeepAlivePeriodInSeconds" not in made["ResourceConfig"], "no warm pool on spot"
    assert made["VpcConfig"] == {
        "Subnets": ["subnet-12345678"],
        "SecurityGroupIds": ["sg-12345678"],
    }
    assert made["EnableNetworkIsolation"] is True
    assert made["EnableInterContainerTrafficEncryption"] is True
    assert made["OutputDataConfig"]["KmsKeyId"] == "alias/out"
    assert made["ResourceConfig"]["VolumeKmsKeyId"] == "alias/disk"


def test_the_sdk_works_once_and_uploads_once(builder, monkeypatch):
    builder.build(SPEC, settings())
    uploads = builder.storage.uploads
    monkeypatch.setattr(request_module, "_from_sdk", None)
    other = builder.build(replace(SPEC, name="rlvr-1234-001-abc", code_uri="s3://b/c/"), settings())
    assert other["TrainingJobName"] == "rlvr-1234-001-abc"
    again = RequestBuilder(builder.service, Storage(builder.service.s3, "bucket", "rlvr"))
    assert again.build(SPEC, settings())["TrainingJobName"] == SPEC.name
    assert builder.storage.uploads == uploads
    assert again.storage.uploads == 0


def test_a_lost_bucket_is_filled_again(builder):
    first = builder.build(SPEC, settings())
    keys = [key for key, _ in builder.storage.walk("")]
    builder.storage.delete(keys)
    again = RequestBuilder(builder.service, Storage(builder.service.s3, "bucket", "rlvr"))
    assert again.build(SPEC, settings()) == first
    assert sorted(key for key, _ in again.storage.walk("")) == sorted(keys)


def test_a_bad_request_is_refused_here(builder):
    with pytest.raises(UserError, match="length 64 must be <= 63"):
        builder.build(replace(SPEC, name="a" * 64), settings())
    with pytest.raises(UserError, match="length 513"):
        builder.build(replace(SPEC, environment={"CONFIG": "x" * 513}), settings())


def test_a_full_request_fits_the_client(builder):
    """botocore's own validation, which the service's would follow."""
    made = builder.build(SPEC, settings())
    client = boto3.client("sagemaker", region_name="us-east-1")
    assert client.create_training_job(**made)["TrainingJobArn"].endswith(SPEC.name)


def test_plugin_scan_loads_no_sdk():
    code = (
        "import sys; from hydra.core.plugins import Plugins; Plugins.instance();"
        "import hydra_plugins.rlvr_launchers.sagemaker, json;"
        "print(json.dumps([m for m in ('sagemaker', 'boto3', 'torch', 'mlflow') "
        "if m in sys.modules]))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(found.stdout) == []
