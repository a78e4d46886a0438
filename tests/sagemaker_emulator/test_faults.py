"""Services that break off, are late, lose answers or tell another time."""

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError, IncompleteReadError, ResponseStreamingError

from sagemaker_emulator import Emulator
from sagemaker_emulator.emulated import BUCKET, archive, eventually, keys, once, submit
from sagemaker_emulator.logs import GROUP

pytestmark = pytest.mark.timeout(240)
BODY = b"0123456789" * 1000


def put(emulator: Emulator) -> None:
    emulator.client("s3").put_object(Bucket=BUCKET, Key="x", Body=BODY)


def test_a_download_that_breaks_off(pretended: Emulator, tmp_path: Any) -> None:
    put(pretended)
    pretended.faults.truncated_gets = 1
    broken = pretended.client("s3").get_object(Bucket=BUCKET, Key="x")
    assert broken["ContentLength"] == len(BODY)
    with pytest.raises((IncompleteReadError, ResponseStreamingError)):
        broken["Body"].read()
    pretended.faults.truncated_gets = 2
    pretended.client("s3").download_file(BUCKET, "x", str(tmp_path / "x"))  # tries again
    assert (tmp_path / "x").read_bytes() == BODY
    assert pretended.faults.truncated_gets == 0


def test_a_slow_download(pretended: Emulator) -> None:
    put(pretended)
    pretended.faults.slow_gets = 0.5
    began = time.monotonic()
    assert pretended.client("s3").get_object(Bucket=BUCKET, Key="x")["Body"].read() == BODY
    assert time.monotonic() - began > 0.5


def test_completed_jobs_may_leave_less_than_they_should(pretended: Emulator) -> None:
    pretended.faults.missing_outputs = 1
    submit(pretended, "no-output").wait()
    assert keys(pretended, "no-output/output/no-output/output/") == ["model.tar.gz"]
    assert "run/result.json" in keys(pretended, "no-output/checkpoints/")
    pretended.faults.missing_results, pretended.faults.missing_copies = 1, 1
    submit(pretended, "no-result").wait()
    left = archive(pretended, "no-result/output/no-result/output/output.tar.gz")
    assert "metrics.jsonl" in left
    assert "result.json" not in left
    assert "run/metrics.jsonl" in keys(pretended, "no-result/checkpoints/")
    assert "run/result.json" not in keys(pretended, "no-result/checkpoints/")


def calls(emulator: Emulator) -> dict[str, Callable[[], Any]]:
    """One of each service."""
    logs = emulator.client("logs")
    return {
        "s3": lambda: emulator.client("s3").head_object(Bucket=BUCKET, Key="x"),
        "logs": lambda: logs.describe_log_groups(),
        "sts": lambda: emulator.client("sts").get_caller_identity(),
        "sagemaker": lambda: emulator.client("sagemaker").list_training_jobs(),
    }


@pytest.mark.parametrize("service", ["s3", "logs", "sts", "sagemaker"])
def test_all_services_have_the_same_wrong_clock(pretended: Emulator, service: str) -> None:
    put(pretended)
    pretended.faults.clock_skew = -7200.0
    answer = calls(pretended)[service]()["ResponseMetadata"]["HTTPHeaders"]
    told = parsedate_to_datetime(answer["date"]).timestamp()
    assert told - pretended.clock.now() == pytest.approx(-7200, abs=60)


def test_all_times_of_a_job_are_by_that_clock(pretended: Emulator) -> None:
    submit(pretended, "skewed").wait()
    client = pretended.client("sagemaker")
    true = client.describe_training_job(TrainingJobName="skewed")
    pretended.faults.clock_skew = 600.0
    told = client.describe_training_job(TrainingJobName="skewed")
    times = ("CreationTime", "TrainingStartTime", "TrainingEndTime", "LastModifiedTime")
    assert {(told[name] - true[name]).total_seconds() for name in times} == {600.0}
    (listed,) = client.list_training_jobs()["TrainingJobSummaries"]
    assert listed["CreationTime"] == told["CreationTime"]


def test_a_stop_that_is_accepted_and_ignored(pretended: Emulator) -> None:
    job = submit(pretended, "deaf", StoppingCondition={"MaxRuntimeInSeconds": 3600})
    pretended.faults.ignored_stops = 1
    client = pretended.client("sagemaker")
    client.stop_training_job(TrainingJobName="deaf")
    assert job.status == "InProgress"
    client.stop_training_job(TrainingJobName="deaf")
    assert job.wait().status == "Stopped"


def test_a_lost_answer_to_a_stop(pretended: Emulator) -> None:
    job = submit(pretended, "stopping")
    pretended.faults.lost_stops = 1
    with pytest.raises(ClientError, match="InternalFailure"):
        once("sagemaker", pretended).stop_training_job(TrainingJobName="stopping")
    assert job.wait().status == "Stopped"


def test_a_later_page_of_a_log_is_throttled(pretended: Emulator) -> None:
    submit(pretended, "talks").wait()
    eventually(lambda: pretended.logged("talks"))
    client = once("logs", pretended)
    (stream,) = client.describe_log_streams(logGroupName=GROUP, logStreamNamePrefix="talks/")[
        "logStreams"
    ]
    place = {"logGroupName": GROUP, "logStreamName": stream["logStreamName"]}
    pretended.faults.throttled_pages = 1
    first = client.get_log_events(**place, startFromHead=True)
    assert first["events"]
    token = first["nextForwardToken"]
    with pytest.raises(ClientError, match="ThrottlingException"):
        client.get_log_events(**place, startFromHead=True, nextToken=token)
    last = client.get_log_events(**place, startFromHead=True, nextToken=token)
    assert (last["events"], last["nextForwardToken"]) == ([], token)
