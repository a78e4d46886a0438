"""What the tests of the emulator ask it for."""

import io
import tarfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from .pretend import Course, Pretend
from .server import ROLE, Emulator

BUCKET = "emulator-tests"
QUICK = Course(provisioning=1, running=8, saving=1, metric=0.25)


@dataclass
class Scripted(Pretend):
    """Every job takes the same course."""

    scripted: Course = QUICK

    def course(self, request: Mapping[str, Any], attempt: int) -> Course:
        return self.scripted


def take(emulator: Emulator, **changes: Any) -> None:
    """Have the next jobs take another course."""
    assert isinstance(emulator.pretend, Scripted)
    emulator.pretend.scripted = replace(QUICK, **changes)


def request(name: str, **changes: Any) -> dict[str, Any]:
    """A CreateTrainingJob request with checkpoints, of an instance without disks of its own."""
    return {
        "TrainingJobName": name,
        "RoleArn": ROLE,
        "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/{name}/output"},
        "CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/{name}/checkpoints"},
        "ResourceConfig": {
            "InstanceType": "ml.m5.xlarge",
            "InstanceCount": 1,
            "VolumeSizeInGB": 10,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    } | changes


SPOT = {
    "EnableManagedSpotTraining": True,
    "StoppingCondition": {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 3600},
}


def submit(emulator: Emulator, name: str, region: str = "us-east-1", **changes: Any) -> Any:
    """The job that was made, as the emulator has it."""
    client = emulator.client("sagemaker", region)
    client.create_training_job(**request(name, **changes))
    return emulator.region(region).jobs[name]


def once(service: str, emulator: Emulator, region: str = "us-east-1") -> Any:
    """A client that does not try again."""
    from botocore.config import Config

    return emulator._client(service, Config(retries={"total_max_attempts": 1}), region)


def make_bucket(emulator: Emulator, name: str, region: str) -> None:
    place = {"CreateBucketConfiguration": {"LocationConstraint": region}}
    client = emulator.client("s3", region)
    client.create_bucket(Bucket=name, **({} if region == "us-east-1" else place))


def keys(emulator: Emulator, prefix: str) -> list[str]:
    found = emulator.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=prefix)
    return [item["Key"].removeprefix(prefix) for item in found.get("Contents", [])]


def archive(emulator: Emulator, key: str) -> dict[str, str]:
    """Files of a tar.gz object."""
    body = emulator.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        files = [member for member in tar.getmembers() if member.isfile()]
        return {m.name: tar.extractfile(m).read().decode() for m in files}  # type: ignore[union-attr]


def eventually(check: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "did not become true in time"
        time.sleep(0.02)
