"""Each region has jobs, logs, quotas and buckets of its own."""

import pytest
from botocore.exceptions import ClientError

from sagemaker_emulator import Emulator
from sagemaker_emulator.emulated import (
    BUCKET,
    SPOT,
    eventually,
    make_bucket,
    once,
    request,
    submit,
)

pytestmark = pytest.mark.timeout(240)
EUROPE, EUROPEAN = "eu-west-1", "emulator-tests-europe"
KIND = "ml.m5.xlarge"


@pytest.fixture(scope="module")
def server(server: Emulator) -> Emulator:
    make_bucket(server, EUROPEAN, EUROPE)
    return server


def there(name: str) -> dict[str, object]:
    return {
        "OutputDataConfig": {"S3OutputPath": f"s3://{EUROPEAN}/{name}/output"},
        "CheckpointConfig": {"S3Uri": f"s3://{EUROPEAN}/{name}/checkpoints"},
    }


def test_a_job_is_known_in_its_region_only(pretended: Emulator) -> None:
    here, abroad = submit(pretended, "one"), submit(pretended, "one", EUROPE, **there("one"))
    assert abroad.arn == "arn:aws:sagemaker:eu-west-1:123456789012:training-job/one"
    assert {here.wait().status, abroad.wait().status} == {"Completed"}
    submit(pretended, "two").wait()
    client = pretended.client("sagemaker", EUROPE)
    listed = client.list_training_jobs()["TrainingJobSummaries"]
    assert [job["TrainingJobName"] for job in listed] == ["one"]
    with pytest.raises(ClientError, match="not found"):
        client.describe_training_job(TrainingJobName="two")
    eventually(lambda: pretended.region(EUROPE).logged("one"))
    assert len(pretended.region(EUROPE).logged("one")) == 1
    assert not pretended.region(EUROPE).logged("two")
    regions = [(entry.name, entry.region) for entry in pretended.ledger().entries]
    assert regions == [("one", "us-east-1"), ("one", EUROPE), ("two", "us-east-1")]


def test_a_bucket_of_another_region_is_refused(pretended: Emulator) -> None:
    for key in ("OutputDataConfig", "CheckpointConfig"):
        with pytest.raises(ClientError, match="is in a different region") as caught:
            submit(pretended, "wrong", **{key: there("wrong")[key]})
        assert caught.value.response["Error"]["Code"] == "ValidationException"
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/in/"}}
    channel = {"ChannelName": "train", "DataSource": source}
    with pytest.raises(ClientError, match=f"{BUCKET} is in a different region"):
        submit(pretended, "wrong", EUROPE, InputDataConfig=[channel], **there("wrong"))
    assert not pretended.ledger().entries


def test_s3_sends_a_client_of_the_wrong_region_away(pretended: Emulator) -> None:
    """boto3 goes where it is sent; a client that does not sees the redirect."""
    pretended.client("s3", EUROPE).put_object(Bucket=EUROPEAN, Key="x", Body=b"hello")
    pretended.calls.clear()
    found = pretended.client("s3").get_object(Bucket=EUROPEAN, Key="x")
    assert found["Body"].read() == b"hello"
    assert pretended.calls["S3:GetObject"] == 2, "asked for again, signed for the other region"
    stays = once("s3", pretended)
    stays.meta.events.unregister("needs-retry.s3", _redirector(stays))
    with pytest.raises(ClientError, match="PermanentRedirect") as caught:
        stays.get_object(Bucket=EUROPEAN, Key="x")
    told = caught.value.response["ResponseMetadata"]
    assert (told["HTTPStatusCode"], told["HTTPHeaders"]["x-amz-bucket-region"]) == (301, EUROPE)
    place = pretended.client("s3").get_bucket_location(Bucket=EUROPEAN)
    assert place["LocationConstraint"] == EUROPE


def _redirector(client: object) -> object:
    from botocore.utils import S3RegionRedirectorv2

    handlers = client.meta.events._emitter._handlers.prefix_search("needs-retry.s3")  # type: ignore[attr-defined]
    (found,) = [h for h in handlers if isinstance(getattr(h, "__self__", 0), S3RegionRedirectorv2)]
    return found


def test_a_quota_is_of_a_region_a_type_and_spot_or_not(pretended: Emulator) -> None:
    pretended.faults.quotas = {("us-east-1", KIND, True): 0, (EUROPE, KIND, False): 0}
    submit(pretended, "on-demand")
    submit(pretended, "spot", EUROPE, **SPOT, **there("spot"))
    with pytest.raises(ClientError, match=f"{KIND} for spot training job usage' is 0 Instances"):
        submit(pretended, "spot", **SPOT)
    with pytest.raises(ClientError, match=f"{KIND} for training job usage' is 0 Instances"):
        submit(pretended, "on-demand", EUROPE, **there("on-demand"))


def test_capacity_is_of_a_region_a_type_and_spot_or_not(pretended: Emulator) -> None:
    pretended.faults.no_capacity_for = {("us-east-1", KIND, False), ("us-east-1", KIND, True)}
    none = submit(pretended, "none").wait()
    assert none.failure_reason.startswith("CapacityError")
    limits = {"MaxRuntimeInSeconds": 10, "MaxWaitTimeInSeconds": 10}
    waited = submit(pretended, "waits", **SPOT | {"StoppingCondition": limits}).wait()
    assert (waited.status, waited.secondary) == ("Stopped", "MaxWaitTimeExceeded")
    assert waited.started is None
    patient = submit(pretended, "patient", **SPOT)
    assert submit(pretended, "abroad", EUROPE, **there("abroad")).wait().status == "Completed"
    assert patient.secondary == "Starting"
    pretended.faults.no_capacity_for.clear()
    assert patient.wait().status == "Completed"


def test_names_must_be_new_in_their_region(pretended: Emulator) -> None:
    submit(pretended, "same")
    with pytest.raises(ClientError, match="ResourceInUse"):
        pretended.client("sagemaker").create_training_job(**request("same"))
