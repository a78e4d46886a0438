"""The emulator behaves as the service does where the service's behaviour is known."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sagemaker_emulator import ROLE, WHY_NOT, Emulator, Job, available_mode
from sagemaker_emulator.sandbox import MODES, works

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(available_mode() is None, reason=WHY_NOT),
]
BUCKET = "emulator-tests"
STOP_GRACE = 3.0
WAIT_FOR_TERM = (
    "trap 'echo saved > /opt/ml/model/x; exit 0' TERM; echo ready;"
    "for i in $(seq 600); do sleep 0.1; done"
)


@pytest.fixture(scope="module")
def server() -> Iterator[Emulator]:
    with Emulator(stop_grace=STOP_GRACE, provisioning=0.02) as emulator:
        emulator.client("s3").create_bucket(Bucket=BUCKET)
        yield emulator


@pytest.fixture
def emulator(server: Emulator) -> Emulator:
    server.reset()
    return server


def request(name: str, script: str, **changes: Any) -> dict[str, Any]:
    return {
        "TrainingJobName": name,
        "RoleArn": ROLE,
        "AlgorithmSpecification": {
            "TrainingImage": "image",
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["/bin/bash"],
            "ContainerArguments": ["-c", script],
        },
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out"},
        "ResourceConfig": {
            "InstanceType": "ml.m5.xlarge",
            "InstanceCount": 1,
            "VolumeSizeInGB": 10,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    } | changes


SPOT = {
    "EnableManagedSpotTraining": True,
    "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60},
    "CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/ckpt", "LocalPath": "/opt/ml/checkpoints"},
}


def submit(emulator: Emulator, *args: Any, **changes: Any) -> Job:
    body = request(*args, **changes)
    emulator.client("sagemaker").create_training_job(**body)
    return emulator.jobs[body["TrainingJobName"]]


def eventually(check: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "did not become true in time"
        time.sleep(0.05)


def archive(emulator: Emulator, key: str) -> dict[str, str]:
    body = emulator.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        files = [m for m in tar.getmembers() if m.isfile()]
        return {m.name: tar.extractfile(m).read().decode() for m in files}  # type: ignore[union-attr]


def test_a_job_runs_as_pid_1_with_its_data_and_leaves_its_artifacts(emulator: Emulator) -> None:
    emulator.client("s3").put_object(Bucket=BUCKET, Key="in/sub/x.txt", Body=b"hello")
    channel = {
        "ChannelName": "train",
        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/in/"}},
    }
    script = (
        "echo pid $$ host $(hostname) greeting $GREETING; touch /tmp/emulator-leak;"
        "cp /opt/ml/input/data/train/sub/x.txt /opt/ml/model/; echo 1 > /opt/ml/output/data/r"
    )
    job = submit(
        emulator, "good", script, InputDataConfig=[channel], Environment={"GREETING": "a 'b' $c"}
    )
    job.wait()
    assert (job.status, job.secondary) == ("Completed", "Completed")
    assert archive(emulator, "out/good/output/model.tar.gz") == {"x.txt": "hello"}
    assert archive(emulator, "out/good/output/output.tar.gz") == {"r": "1\n"}
    eventually(lambda: emulator.logged("good"))
    assert emulator.logged("good") == [["pid 1 host algo-1 greeting a 'b' $c"]]
    if emulator.mode == "overlay":
        assert not Path("/tmp/emulator-leak").exists()


def test_a_failure_carries_the_failure_file_and_the_exit_code(emulator: Emulator) -> None:
    job = submit(
        emulator, "bad", "echo ValueError: no data > /opt/ml/output/failure; exit 3"
    ).wait()
    described = emulator.client("sagemaker").describe_training_job(TrainingJobName="bad")
    assert described["TrainingJobStatus"] == "Failed"
    assert described["FailureReason"] == "AlgorithmError: ValueError: no data\n, exit code: 3"
    assert job.instances == 1


def test_a_missing_channel_fails_the_job(emulator: Emulator) -> None:
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/nothing/"}}
    channel = {"ChannelName": "train", "DataSource": source}
    job = submit(emulator, "empty", "true", InputDataConfig=[channel]).wait()
    assert job.status == "Failed"
    assert "No objects found" in job.failure_reason


def test_sigterm_reaches_only_a_pid_1_that_handles_it(emulator: Emulator) -> None:
    handles = submit(emulator, "handles", WAIT_FOR_TERM)
    ignores = submit(emulator, "ignores", "echo ready; sleep 60; echo never > /opt/ml/model/x")
    for job in (handles, ignores):
        eventually(lambda job=job: emulator.logged(job.name) == [["ready"]])
    began = time.monotonic()
    for job in (handles, ignores):
        emulator.client("sagemaker").stop_training_job(TrainingJobName=job.name)
    handles.wait()
    ignores.wait()
    assert time.monotonic() - began > STOP_GRACE, "SIGKILL only after the grace"
    assert handles.ended
    assert ignores.ended
    assert handles.ended < ignores.ended
    assert [handles.status, ignores.status] == ["Stopped", "Stopped"]
    assert archive(emulator, "out/handles/output/model.tar.gz") == {"x": "saved\n"}
    assert archive(emulator, "out/ignores/output/model.tar.gz") == {}


def test_max_runtime_stops_the_job_and_keeps_what_it_saved(emulator: Emulator) -> None:
    limit = {"MaxRuntimeInSeconds": 1}
    job = submit(emulator, "long", WAIT_FOR_TERM, StoppingCondition=limit).wait()
    assert (job.status, job.secondary) == ("Stopped", "MaxRuntimeExceeded")
    assert archive(emulator, "out/long/output/model.tar.gz") == {"x": "saved\n"}


def test_an_interrupted_spot_job_starts_again_with_its_checkpoints(emulator: Emulator) -> None:
    script = (
        "C=/opt/ml/checkpoints/step; [ -e $C ] && echo resumed at $(cat $C) && exit 0;"
        f"echo 7 > $C; echo fresh; {WAIT_FOR_TERM}"
    )
    job = submit(emulator, "spot", script, **SPOT)
    eventually(lambda: emulator.logged("spot"))
    job.interrupt()
    job.wait()
    assert job.status == "Completed"
    states = [t["Status"] for t in job.transitions]
    assert states.index("Interrupted") < states.index("Completed")
    assert states.count("Starting") == 2
    eventually(lambda: len(emulator.logged("spot")) == 2)
    assert emulator.logged("spot") == [["fresh", "ready"], ["resumed at 7"]]


def test_two_nodes_see_each_other(emulator: Emulator) -> None:
    script = (
        "echo $(hostname) $(getent hosts algo-2 | cut -d' ' -f1);"
        "cat /opt/ml/input/config/resourceconfig.json"
    )
    resources = request("x", "")["ResourceConfig"] | {"InstanceCount": 2}
    submit(emulator, "pair", script, ResourceConfig=resources).wait()
    eventually(lambda: len(emulator.logged("pair")) == 2)
    first, second = emulator.logged("pair")
    assert [first[0], second[0]] == ["algo-1 127.0.0.11", "algo-2 127.0.0.11"]
    assert json.loads(second[1])["hosts"] == ["algo-1", "algo-2"]


def test_quota_counts_running_instances(emulator: Emulator) -> None:
    emulator.faults.quotas = {"ml.m5.xlarge": 1}
    first = submit(emulator, "one", "sleep 0.5")
    with pytest.raises(ClientError, match=r"ml\.m5\.xlarge for training job usage' is 1 Inst"):
        submit(emulator, "two", "true")
    first.wait()
    assert submit(emulator, "two", "true").wait().status == "Completed"


def test_every_nth_call_is_throttled(emulator: Emulator) -> None:
    from botocore.config import Config

    emulator.faults.throttle = {"ListTrainingJobs": 2}
    client = emulator._client("sagemaker", Config(retries={"total_max_attempts": 1}))
    client.list_training_jobs()
    with pytest.raises(ClientError, match="ThrottlingException"):
        client.list_training_jobs()
    client.list_training_jobs()
    assert emulator.calls["ListTrainingJobs"] == 3


def test_capacity_errors_and_failing_uploads(emulator: Emulator) -> None:
    emulator.faults.capacity_errors = 1
    assert submit(emulator, "none-left", "true").wait().failure_reason.startswith("CapacityError")
    emulator.faults.fail_puts = -1
    with pytest.raises(ClientError, match="SlowDown"):
        emulator.client("s3").put_object(Bucket=BUCKET, Key="x", Body=b"")
    emulator.faults.fail_puts = 1
    emulator.client("s3").put_object(Bucket=BUCKET, Key="x", Body=b"")  # boto3 retries


def test_a_completed_job_may_leave_less_than_it_wrote(emulator: Emulator) -> None:
    script = "cd /opt/ml/output/data; echo {} > result.json; echo 1 > r"
    emulator.faults.missing_results = 1
    submit(emulator, "no-result", script).wait()
    assert archive(emulator, "out/no-result/output/output.tar.gz") == {"r": "1\n"}
    emulator.faults.missing_outputs = 1
    submit(emulator, "no-output", script).wait()
    left = emulator.client("s3").list_objects_v2(Bucket=BUCKET, Prefix="out/no-output/")
    assert [item["Key"] for item in left["Contents"]] == ["out/no-output/output/model.tar.gz"]


def test_spot_waits_for_capacity(emulator: Emulator) -> None:
    emulator.faults.no_capacity_for = {("us-east-1", "ml.m5.xlarge", True)}
    job = submit(emulator, "waits", "true", **SPOT)
    time.sleep(0.5)
    assert job.secondary == "Starting"
    emulator.faults.no_capacity_for.clear()
    assert job.wait().status == "Completed"


def test_logs_may_lag_behind_the_status(emulator: Emulator) -> None:
    emulator.faults.log_delay = 1.0
    submit(emulator, "late", "echo here").wait()
    assert emulator.logged("late") == []
    eventually(lambda: emulator.logged("late") == [["here"]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"TrainingJobName": "Qwen2.5"}, "pattern"),
        ({"EnableManagedSpotTraining": True}, "MaxWaitTimeInSeconds"),
    ],
)
def test_what_the_service_refuses(
    emulator: Emulator, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ClientError, match=re.escape(message)) as caught:
        submit(emulator, "refused", "true", **changes)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert not emulator.jobs


def test_names_are_unique_and_tags_are_searchable(emulator: Emulator) -> None:
    tags = [{"Key": "sweep", "Value": "abc"}]
    job = submit(emulator, "tagged", "true", Tags=tags).wait()
    submit(emulator, "other", "true").wait()
    with pytest.raises(ClientError, match="ResourceInUse"):
        submit(emulator, "tagged", "true")
    client = emulator.client("sagemaker")
    expression = {"Filters": [{"Name": "Tags.sweep", "Operator": "Equals", "Value": "abc"}]}
    found = client.search(Resource="TrainingJob", SearchExpression=expression)["Results"]
    assert [r["TrainingJob"]["TrainingJobName"] for r in found] == ["tagged"]
    assert client.list_tags(ResourceArn=job.arn)["Tags"] == tags
    listed = client.list_training_jobs(NameContains="tag")["TrainingJobSummaries"]
    assert [s["TrainingJobName"] for s in listed] == ["tagged"]


def test_gpus_can_be_pretended(emulator: Emulator) -> None:
    emulator.machine.gpus["ml.m5.xlarge"] = 4
    try:
        submit(emulator, "gpus", "nvidia-smi --list-gpus | grep -c '^GPU '").wait()
        eventually(lambda: emulator.logged("gpus") == [["4"]])
    finally:
        emulator.machine.gpus.clear()


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGKILL])
def test_the_developer_tool_leaves_no_process_behind(tmp_path: Path, signal_number: int) -> None:
    tool = subprocess.Popen(
        [sys.executable, str(Path(__file__).parent), "--port", "0", "--bucket", BUCKET],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert tool.stdout
    try:
        env = dict(_export(tool.stdout.readline) for _ in range(7))
        marker = f"sleep 6{os.getpid()}"
        _create_over_http(env, request("stay", f"{marker}; true"))
        eventually(lambda: _running(marker))
    finally:
        tool.send_signal(signal_number)
        tool.wait(timeout=90)
    eventually(lambda: not _running(marker))


def _export(read: Any) -> tuple[str, str]:
    key, _, value = read().removeprefix("export ").strip().partition("=")
    return key, value


def _create_over_http(env: dict[str, str], body: dict[str, Any]) -> None:
    target = {"X-Amz-Target": "SageMaker.CreateTrainingJob"}
    data = json.dumps(body).encode()
    call = urllib.request.Request(env["AWS_ENDPOINT_URL"], data, target)
    urllib.request.urlopen(call, timeout=10).read()
    state = urllib.request.urlopen(env["AWS_ENDPOINT_URL"] + "/_emulator", timeout=10).read()
    assert "stay" in json.loads(state)["jobs"]


def _running(command: str) -> bool:
    """Whether the container's own command runs; those that start it have it as an argument."""
    wanted = "".join(f"{word}\0" for word in command.split()).encode()
    return any(_command_line(p) == wanted for p in Path("/proc").glob("[0-9]*/cmdline"))


def _command_line(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended meanwhile
        return b""


@pytest.mark.parametrize("mode", MODES)
def test_each_isolation_mode_that_works_runs_a_job(mode: str, tmp_path: Path) -> None:
    if not works(mode):
        pytest.skip(f"{mode} does not work on this machine")
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "secret").touch()
    with Emulator(mode=mode, provisioning=0, hide=(hidden,)) as emulator:
        emulator.client("s3").create_bucket(Bucket=BUCKET)
        script = f"echo $$ > /opt/ml/model/pid; ls {hidden} > /opt/ml/model/listing"
        submit(emulator, f"in-{mode}", script).wait()
        assert archive(emulator, f"out/in-{mode}/output/model.tar.gz") == {
            "pid": "1\n",
            "listing": "",
        }
