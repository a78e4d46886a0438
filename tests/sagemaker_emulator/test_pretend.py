"""Pretended jobs go through the states of real ones, and leave what rlvr collects."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from rlvr import result
from rlvr.launchers.sagemaker import collect
from rlvr.launchers.sagemaker.service import Service
from rlvr.launchers.sagemaker.storage import Storage
from rlvr.launchers.sagemaker.training_job import TrainingJob
from rlvr.states import State
from sagemaker_emulator import Course, Emulator, Ending, Pretend
from sagemaker_emulator.emulated import (
    BUCKET,
    SPOT,
    archive,
    eventually,
    keys,
    request,
    submit,
    take,
)

pytestmark = pytest.mark.timeout(240)


def collected(pretended: Emulator, name: str, folder: Path) -> tuple[TrainingJob, Any]:
    """What rlvr's own collect makes of the job, by what the service says of it."""
    client = pretended.client("sagemaker")
    job = TrainingJob(name, "us-east-1", BUCKET, name, "ml.m5.xlarge")
    job.update(client.describe_training_job(TrainingJobName=name), pretended.clock.now())
    service = Service("us-east-1")
    service.s3 = pretended.client("s3")
    collect.fetch(Storage(service, BUCKET, ""), job, folder, log="log")
    return job, collect.ending(result.read(folder), job, 3600)


def test_a_completed_job_is_collected(pretended: Emulator, tmp_path: Path) -> None:
    job = submit(pretended, "good").wait()
    assert [moved["Status"] for moved in job.transitions] == [
        *("Starting", "Downloading", "Training", "Uploading", "Completed")
    ]
    remote, ended = collected(pretended, "good", tmp_path)
    assert (ended.status, ended.metric) == (State.finished, 0.25)
    assert ended.trained["accuracy"] == 0.25
    assert remote.training_seconds == pytest.approx(8, abs=3)
    steps = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").open()]
    assert steps == [1, 2, 3, 4]
    assert (tmp_path / "model" / "adapter.txt").read_text() == "0.25"
    eventually(lambda: len(pretended.logged("good")) == 1)
    assert pretended.logged("good")[0][-1] == "[rlvr] the job has ended with exit code 0"


def test_it_reports_its_progress_while_it_runs(pretended: Emulator) -> None:
    take(pretended, running=400)
    job = submit(pretended, "long")
    eventually(lambda: "run/progress.json" in keys(pretended, "long/checkpoints/"))
    read = pretended.client("s3").get_object(Bucket=BUCKET, Key="long/checkpoints/run/result.json")
    assert json.load(read["Body"])["status"] == "running"
    assert job.live


def test_the_workers_own_failure_is_told(pretended: Emulator, tmp_path: Path) -> None:
    take(pretended, ending=Ending.failed)
    job = submit(pretended, "bad").wait()
    assert job.failure_reason.startswith("AlgorithmError: RuntimeError: this job was told to fail")
    _, ended = collected(pretended, "bad", tmp_path)
    assert ended.status is State.failed
    assert ended.error == "RuntimeError: this job was told to fail"
    assert "Traceback" in ended.traceback


@pytest.mark.parametrize(
    ("ending", "changes", "expected"),
    [
        (Ending.no_capacity, {}, ("Failed", "Failed", "CapacityError")),
        (Ending.internal_error, {}, ("Failed", "Failed", "InternalServerError")),
        (
            Ending.overruns,
            {"StoppingCondition": {"MaxRuntimeInSeconds": 12}},
            ("Stopped", "MaxRuntimeExceeded", ""),
        ),
        (
            Ending.no_capacity,
            SPOT | {"StoppingCondition": {"MaxRuntimeInSeconds": 9, "MaxWaitTimeInSeconds": 12}},
            ("Stopped", "MaxWaitTimeExceeded", ""),
        ),
    ],
)
def test_what_can_become_of_a_job(
    pretended: Emulator, ending: Ending, changes: dict[str, Any], expected: tuple[str, str, str]
) -> None:
    take(pretended, ending=ending)
    job = submit(pretended, f"{ending.replace('_', '-')}-{len(changes)}", **changes).wait()
    assert (job.status, job.secondary, job.failure_reason.partition(":")[0]) == expected
    assert job.billable_seconds == (0 if ending is Ending.no_capacity else job.billable_seconds)


def test_spot_goes_on_where_it_was_reclaimed(pretended: Emulator, tmp_path: Path) -> None:
    take(pretended, lives=(5.0, 3.0))
    job = submit(pretended, "spot", **SPOT).wait()
    states = [moved["Status"] for moved in job.transitions]
    assert states.count("Interrupted") == 2
    _, ended = collected(pretended, "spot", tmp_path)
    assert ended.status is State.finished
    steps = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").open()]
    assert steps == [1, 2, 3, 4], "none twice, none missing"
    eventually(lambda: len(pretended.logged("spot")) == 3)
    assert pretended.logged("spot")[2][0] == "[rlvr] start number 3"
    assert job.billable_seconds == pytest.approx(job.training_seconds * 0.3, abs=1)


def test_a_stop_lets_the_worker_save(pretended: Emulator, tmp_path: Path) -> None:
    take(pretended, running=4000)
    job = submit(pretended, "stopped")
    eventually(lambda: job.secondary == "Training")
    pretended.client("sagemaker").stop_training_job(TrainingJobName="stopped")
    assert job.status == "Stopping"
    assert job.wait().status == "Stopped"
    assert json.loads(
        archive(pretended, "stopped/output/stopped/output/output.tar.gz")["result.json"]
    )
    _, ended = collected(pretended, "stopped", tmp_path)
    assert ended.status is State.killed
    assert result.read(tmp_path).status is State.killed, "the worker had time to say so"


def test_one_that_does_not_save_in_time_is_killed(pretended: Emulator, tmp_path: Path) -> None:
    take(pretended, running=4000, saving=500)
    pretended.faults.stop_grace = 4.0
    job = submit(pretended, "slow")
    eventually(lambda: job.secondary == "Training")
    job.stop()
    job.wait()
    collected(pretended, "slow", tmp_path)
    assert result.read(tmp_path).status is State.running, "it could not say anything"


def test_a_job_without_its_data_fails(pretended: Emulator) -> None:
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/nothing/"}}
    channel = {"ChannelName": "train", "DataSource": source}
    job = submit(pretended, "empty", InputDataConfig=[channel]).wait()
    assert (job.status, job.billable_seconds) == ("Failed", 0)
    assert "No objects found" in job.failure_reason


def test_the_result_is_of_the_job_that_was_sent(pretended: Emulator) -> None:
    s3 = pretended.client("s3")
    s3.put_object(Bucket=BUCKET, Key="in/config.yaml", Body=b"shots: 4\nseed: 7\n")
    s3.put_object(Bucket=BUCKET, Key="in/overrides.yaml", Body=b"- shots=4\n")
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/in/"}}
    channel = {"ChannelName": "job", "DataSource": source}
    environment = {"RLVR_RUN_ID": "a-run"}
    submit(pretended, "mine", InputDataConfig=[channel], Environment=environment).wait()
    files = archive(pretended, "mine/output/mine/output/output.tar.gz")
    told = json.loads(files["result.json"])
    found = {key: told[key] for key in ("shots", "seed", "overrides", "run_id")}
    assert found == {"shots": 4, "seed": 7, "overrides": ["shots=4"], "run_id": "a-run"}


def test_a_seed_decides_by_the_jobs_tag_and_attempt() -> None:
    def courses(seed: int) -> list[Course]:
        endings = {Ending.completed: 1.0, Ending.failed: 1.0, Ending.no_capacity: 1.0}
        pretend = Pretend(seed=seed, tag="index", endings=endings, reclaimed=0.5)
        sent = [
            request(f"a-{number}", Tags=[{"Key": "index", "Value": str(number)}], **SPOT)
            for number in range(40)
        ]
        return [pretend.course(one | {"TrainingJobName": "x"}, 0) for one in sent]

    assert courses(1) == courses(1)
    assert courses(1) != courses(2)
    assert {course.ending for course in courses(1)} == {
        *(Ending.completed, Ending.failed, Ending.no_capacity)
    }
    assert any(course.lives for course in courses(1))
    once, again = (Pretend(tag="index").course(request("a"), attempt) for attempt in (0, 1))
    assert once.metric == again.metric
    assert once.running != again.running


@pytest.mark.slow
def test_hundreds_of_jobs_share_one_thread(pretended: Emulator) -> None:
    take(pretended, running=200)
    before = threading.active_count()
    jobs = [submit(pretended, f"many-{number}") for number in range(200)]
    assert sum(job.live for job in jobs) == 200
    assert threading.active_count() - before < 10, "but for those that answer HTTP"
    assert {job.wait().status for job in jobs} == {"Completed"}
