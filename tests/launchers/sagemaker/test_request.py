"""Requests by the real SDK: what is sent, what is uploaded, and how often the SDK is asked."""

import json

import boto3
import pytest
from omegaconf import read_write

from rlvr.errors import UserError
from rlvr.launchers.sagemaker import sdk_container
from rlvr.launchers.sagemaker.regions import Regions
from rlvr.launchers.sagemaker.request import RequestBuilder


@pytest.fixture
def builder(regions):
    return RequestBuilder(regions, "sweep-1")


def build(builder, submission, **environment):
    """The request for the job's first place, which has all that it names, and its training job."""
    builder.make_ready(submission, "rlvr.worker", environment)
    builder.upload_shared(submission, submission.places[0])
    return submission.next.request, submission.next.training


def channels(request):
    sources = {c["ChannelName"]: c["DataSource"] for c in request["InputDataConfig"]}
    return {name: source["S3DataSource"]["S3Uri"] for name, source in sources.items()}


def test_the_request(builder, submission):
    job = submission(3, warm_pool=600, volume_gb=50, requirements=None)
    made, training = build(builder, job, A='it\'s "$HOME"')

    assert made["TrainingJobName"] == f"{training.name}-1"
    assert training.job_key == "rlvr/sweeps/sweep-1/003-00000000"
    assert made["RoleArn"] == job.settings.role
    assert made["AlgorithmSpecification"]["ContainerEntrypoint"] == ["/bin/bash"]
    assert "/pytorch" in made["AlgorithmSpecification"]["TrainingImage"]
    assert training.image == made["AlgorithmSpecification"]["TrainingImage"]
    uris = channels(made)
    assert set(uris) == {"sm_drivers", "code", "job"}
    assert uris["job"] == f"s3://bucket/{training.job_key}/input/"
    assert set(job.files) == {"config.yaml", "job.json"}
    answers = {"bucket": "bucket", "region": "us-east-1", "prefix": "rlvr/evaluations"}
    told = json.loads(job.files["job.json"])
    assert told == {"module": "rlvr.worker", "answers": {**answers, "kms_key": None}}
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


def test_what_jobs_share_is_made_and_uploaded_once(builder, submission, storage, monkeypatch):
    first, _ = build(builder, submission(0, requirements=None))
    uploads = storage.uploads
    monkeypatch.setattr(sdk_container, "from_sdk", None)
    second, _ = build(builder, submission(1, requirements=None))
    assert second["TrainingJobName"] != first["TrainingJobName"]
    assert channels(first)["code"] == channels(second)["code"]
    assert storage.uploads == uploads
    again = RequestBuilder(Regions(builder.regions.settings), "sweep-2")
    build(again, submission(2, requirements=None))
    assert again.regions.storage("us-east-1").uploads == 0, "the archive is there already"


def test_each_kind_of_job_gets_the_code_it_asks_for(builder, submission):
    """ZeRO-3 needs DeepSpeed, the others shall not wait for it."""
    plain, zero3 = (
        submission(i, {"trainer": {"distributed": distributed}})
        for i, distributed in enumerate(("none", "zero3"))
    )
    place = plain.places[0]
    archives = [builder.code(job, place) for job in (plain, zero3)]
    assert archives[0].digest != archives[1].digest
    assert builder.code(plain, place) is archives[0]
    excluding = submission(2, exclude=["/conf"])
    assert {*builder.code(excluding, place).files} < {*archives[0].files}


def test_a_jobs_places_share_all_but_the_machine(builder, submission):
    """And so its checkpoints, wherever it comes to run."""
    job = submission(
        config={"trainer": {"save_steps": 1}},
        spot=True,
        on_demand_fallback=True,
        fallback_instance_types=["ml.m5.xlarge"],
        requirements=None,
        warm_pool=600,
    )
    builder.make_ready(job, "rlvr.worker", {})
    assert [ready.place for ready in job.ready] == job.places
    assert len({ready.training.job_key for ready in job.ready}) == 1
    assert len({ready.training.name for ready in job.ready}) == 1
    requests, spot = [ready.request for ready in job.ready], [True, True, False, False]
    assert [bool(made.get("EnableManagedSpotTraining")) for made in requests] == spot
    assert ["MaxWaitTimeInSeconds" in made["StoppingCondition"] for made in requests] == spot
    machines = [made["ResourceConfig"] for made in requests]
    assert ["KeepAlivePeriodInSeconds" not in machine for machine in machines] == spot
    assert [not ready.training.pool for ready in job.ready] == spot
    assert [machine["InstanceType"] for machine in machines] == [
        "ml.g6.2xlarge",
        "ml.m5.xlarge",
    ] * 2


def test_each_region_has_its_own_image_bucket_and_uploads(two_regions, submission):
    builder = RequestBuilder(two_regions, "sweep-1")
    settings = two_regions.settings
    job = submission(regions=settings.regions, bucket=settings.bucket, requirements=None)
    builder.make_ready(job, "rlvr.worker", {})
    for ready, region in zip(job.ready, ("us-east-1", "eu-west-1"), strict=True):
        bucket, request = f"bucket-{region}", ready.request
        assert (ready.place.region, ready.training.bucket) == (region, bucket)
        assert f".{region}." in request["AlgorithmSpecification"]["TrainingImage"]
        outputs = request["OutputDataConfig"]["S3OutputPath"]
        uris = [*channels(request).values(), outputs, request["CheckpointConfig"]["S3Uri"]]
        assert all(uri.startswith(f"s3://{bucket}/rlvr/") for uri in uris)
        assert not list(two_regions.storage(region).walk("")), "nothing is uploaded before"
        builder.upload_shared(job, ready.place)
        assert list(two_regions.storage(region).walk("rlvr/code/"))
    assert json.loads(job.files["job.json"])["answers"]["bucket"] == "bucket-us-east-1", (
        "what base models have answered is in one place"
    )
    assert job.ready[0].training.hourly == pytest.approx(1.222)
    assert job.ready[1].training.hourly is None, "its prices are not known"


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


def test_a_detached_job_tells_the_topic_of_its_end_by_itself(builder, submission):
    """Where a controller watches, that tells of the sweep's end; a command is of its machine."""
    topic = "arn:aws:sns:us-east-1:123456789012:ends"
    settings = {"requirements": None}
    detached, _ = build(builder, submission(0, notify=topic, detach=True, **settings))
    assert detached["Environment"] == {"RLVR_NOTIFY_TOPIC": topic}
    watched, _ = build(builder, submission(1, notify=topic, **settings))
    command, _ = build(builder, submission(2, notify="mail me", detach=True, **settings))
    assert watched["Environment"] == command["Environment"] == {}


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
            instance_type="ml.m5.xlarge",
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


def test_a_lost_bucket_is_filled_again(builder, submission, storage):
    first = submission(requirements=None)
    build(builder, first)
    keys = sorted(key for key, _ in storage.walk(""))
    storage.delete(keys)
    again = RequestBuilder(Regions(builder.regions.settings), "sweep-1")
    build(again, first)
    assert sorted(key for key, _ in storage.walk("")) == keys


def test_a_bad_request_is_refused_here(builder, submission):
    with pytest.raises(UserError, match="length 513"):
        build(builder, submission(requirements=None), CONFIG="x" * 513)


def test_a_full_request_fits_the_client(builder, submission):
    """botocore's own validation, which the service's would follow."""
    made, training = build(builder, submission(requirements=None))
    client = boto3.client("sagemaker", region_name="us-east-1")
    assert client.create_training_job(**made)["TrainingJobArn"].endswith(f"{training.name}-1")


def check(builder, *submissions):
    """What is said before anything is uploaded."""
    with pytest.raises(UserError) as caught:
        builder.check(submissions)
    assert not list(builder.regions.storage("us-east-1").walk(""))
    return str(caught.value)


def test_every_request_of_a_sweep_is_checked_before_the_first_upload(builder, submission):
    good, typed, disk = (
        submission(0, requirements=None),
        submission(1, requirements=None, instance_type="ml.g6.2xlage"),
        submission(2, requirements=None, volume_kms_key="alias/disk"),
    )
    said = check(builder, good, typed, disk)
    assert "job #1 shots=1: launcher.instance_type=ml.g6.2xlage: SageMaker has no such type" in said
    assert "did you mean ml.g6.2xlarge" in said
    assert "job #2 shots=2: launcher.volume_kms_key: ml.g6.2xlarge keeps its data on disks" in said
    builder.check([good])


def test_fallbacks_are_checked_too(builder, submission):
    fallbacks = ["ml.m5.xlarge", "ml.nothing.large"]
    said = check(builder, submission(requirements=None, fallback_instance_types=fallbacks))
    assert "ml.nothing.large" in said
    assert said.count("job #0 shots=0") == 1


def test_local_files_are_checked_too(builder, submission, tmp_path):
    gone = submission(0, {"dataset": {"path": "./nothing"}}, requirements=None)
    data = tmp_path / "data"
    data.mkdir()
    (data / "train.jsonl").write_text("{}")
    (data / ".env").write_text("HF_TOKEN=x")
    secret = submission(1, {"dataset": {"path": str(data)}}, requirements=None)
    said = check(builder, gone, secret)
    assert "./nothing: no such file" in said
    assert ".env: a file of this name usually holds secrets" in said
    (data / ".env").unlink()
    (data / "train.jsonl").write_text('{"text": "hf_' + "a1" * 15 + '"}')
    again = RequestBuilder(builder.regions)
    assert "train.jsonl:1: a Hugging Face token" in check(again, secret)


@pytest.mark.parametrize(
    "override", ["+x=hf_" + "a1" * 15, "db.password=a1a1a1", "++api_key='a1 a1'", "~token=a1a1"]
)
def test_no_secret_is_in_any_tag(builder, submission, override):
    """An app's own overrides, at which nothing else looks."""
    job = submission(requirements=None)
    job.job.overrides.append(override)
    said = check(builder, job)
    key = override.lstrip("+~").partition("=")[0]
    assert f"job #0 shots=0: {key} holds a password or token, which a tag would show" in said
    assert "a1" not in said


def test_no_secret_is_in_any_environment(builder, submission):
    """Hydra's own settings are no settings of ours."""
    job = submission(requirements=None)
    with read_write(job.job.config.hydra):
        job.job.config.hydra.job.env_set = {"WANDB_API_KEY": "0123456789"}
    said = check(builder, job)
    assert "holds a password or token" in said
    assert "0123456789" not in said


def test_data_is_read_and_uploaded_once_for_all_jobs(builder, submission, tmp_path, monkeypatch):
    """Not again for each job, while running ones wait to be looked at."""
    weights = tmp_path / "model"
    weights.mkdir()
    (weights / "model.safetensors").write_bytes(b"0" * 1000)
    jobs = [submission(i, {"model": {"path": str(weights)}}, requirements=None) for i in range(3)]
    builder.check(jobs)
    builder.upload_shared(jobs[0], jobs[0].places[0])
    (weights / "model.safetensors").unlink()  # who reads it again fails
    storage = builder.regions.storage("us-east-1")
    uploads = storage.uploads
    made = [build(builder, job)[0] for job in jobs]
    assert storage.uploads == uploads
    assert len({channels(request)["model"] for request in made}) == 1
    key = channels(made[0])["model"].removeprefix("s3://bucket/")
    assert storage.get(f"{key}model.safetensors") == b"0" * 1000
