"""Requests by the real SDK: what is sent, what is uploaded, and how often the SDK is asked."""

import boto3
import pytest

from rlvr.errors import UserError
from rlvr.launchers.sagemaker import sdk_container
from rlvr.launchers.sagemaker.request import RequestBuilder
from rlvr.launchers.sagemaker.service import Service
from rlvr.launchers.sagemaker.storage import Storage


@pytest.fixture
def builder(storage):
    return RequestBuilder(Service.connect("us-east-1"), storage, "sweep-1")


def build(builder, submission, **environment):
    training = builder.training_job(submission)
    return builder.build(submission, training, "rlvr.worker", environment), training


def channels(request):
    sources = {c["ChannelName"]: c["DataSource"] for c in request["InputDataConfig"]}
    return {name: source["S3DataSource"]["S3Uri"] for name, source in sources.items()}


def test_the_request(builder, submission):
    job = submission(3, warm_pool=600, volume_gb=50, requirements=None)
    made, training = build(builder, job, A='it\'s "$HOME"')

    assert made["TrainingJobName"] == training.name
    assert training.job_key == "rlvr/sweeps/sweep-1/003-00000000"
    assert made["RoleArn"] == job.settings.role
    assert made["AlgorithmSpecification"]["ContainerEntrypoint"] == ["/bin/bash"]
    assert "pytorch-training:" in made["AlgorithmSpecification"]["TrainingImage"]
    assert training.image == made["AlgorithmSpecification"]["TrainingImage"]
    uris = channels(made)
    assert set(uris) == {"sm_drivers", "code", "job"}
    assert uris["job"] == f"s3://bucket/{training.job_key}/input/"
    assert builder.storage.get(f"{training.job_key}/input/config.yaml")
    assert made["ResourceConfig"] == {
        "InstanceType": "ml.g6.2xlarge",
        "InstanceCount": 1,
        "VolumeSizeInGB": 50,
        "KeepAlivePeriodInSeconds": 600,
    }
    assert made["StoppingCondition"] == {"MaxRuntimeInSeconds": 18_000}
    assert made["OutputDataConfig"]["S3OutputPath"] == f"s3://bucket/{training.job_key}/output"
    assert made["CheckpointConfig"] == {
        "S3Uri": f"s3://bucket/{training.job_key}/checkpoints",
        "LocalPath": "/opt/ml/checkpoints",
    }
    assert made["Environment"] == {"A": 'it\'s "$HOME"'}
    tags = {tag["Key"]: tag["Value"] for tag in made["Tags"]}
    assert tags["rlvr.overrides"] == "shots=3"
    assert (tags["rlvr.sweep"], tags["rlvr.index"]) == ("sweep-1", "3")
    assert "HyperParameters" not in made, "they would be shell code in the container"


def test_what_jobs_share_is_made_and_uploaded_once(builder, submission, monkeypatch):
    first, _ = build(builder, submission(0, requirements=None))
    uploads = builder.storage.uploads
    monkeypatch.setattr(sdk_container, "from_sdk", None)
    second, training = build(builder, submission(1, requirements=None))
    assert second["TrainingJobName"] == training.name != first["TrainingJobName"]
    assert channels(first)["code"] == channels(second)["code"]
    assert builder.storage.uploads == uploads + 2, "config.yaml and job.json"
    storage = Storage(builder.storage.client, "bucket", "rlvr")
    again = RequestBuilder(builder.service, storage, "sweep-2")
    again.pack(submission(2, requirements=None))
    assert storage.uploads == 0, "the archive is there already"


def test_each_kind_of_job_gets_the_code_it_asks_for(builder, submission):
    """ZeRO-3 needs DeepSpeed, the others shall not wait for it."""
    plain, zero3 = (
        submission(i, {"trainer": {"distributed": distributed}})
        for i, distributed in enumerate(("none", "zero3"))
    )
    archives = [builder.pack(job) for job in (plain, zero3)]
    assert archives[0].digest != archives[1].digest
    assert builder.pack(plain) is builder.pack(zero3) is None
    excluding = submission(2, exclude=["/conf"])
    assert builder.pack(excluding).files < archives[0].files


def test_jobs_of_one_config_share_their_checkpoints(builder, submission):
    job = submission()
    first, second = builder.training_job(job), builder.training_job(job)
    assert first.name != second.name
    assert first.job_key == second.job_key


def test_environment_of_several_hosts_and_of_the_token(builder, submission):
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:hf"
    made, _ = build(
        builder,
        submission(
            instance_count=2,
            multi_node_environment={"FI_PROVIDER": "efa"},
            environment={"MINE": "1"},
            hf_token_secret=arn,
            requirements=None,
        ),
        RLVR_RUN_ID="r1",
    )
    wanted = {"FI_PROVIDER": "efa", "MINE": "1", "RLVR_HF_TOKEN_ARN": arn, "RLVR_RUN_ID": "r1"}
    assert made["Environment"] == wanted


def test_spot_network_and_keys(builder, submission):
    made, _ = build(
        builder,
        submission(
            config={"trainer": {"save_steps": 1}},
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


def test_a_lost_bucket_is_filled_again(builder, submission):
    first = submission(requirements=None)
    build(builder, first)
    keys = sorted(key for key, _ in builder.storage.walk(""))
    builder.storage.delete(keys)
    storage = Storage(builder.storage.client, "bucket", "rlvr")
    again = RequestBuilder(builder.service, storage, "sweep-1")
    build(again, first)
    assert sorted(key for key, _ in storage.walk("")) == keys


def test_a_bad_request_is_refused_here(builder, submission):
    with pytest.raises(UserError, match="length 513"):
        build(builder, submission(requirements=None), CONFIG="x" * 513)


def test_a_full_request_fits_the_client(builder, submission):
    """botocore's own validation, which the service's would follow."""
    made, training = build(builder, submission(requirements=None))
    client = boto3.client("sagemaker", region_name="us-east-1")
    assert client.create_training_job(**made)["TrainingJobArn"].endswith(training.name)
