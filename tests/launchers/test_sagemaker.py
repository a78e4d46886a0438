"""Sweeps on the SageMaker emulator: whatever goes wrong, nothing is lost, doubled or orphaned."""

import gzip
import hashlib
import json
import signal
import sys
import time
from pathlib import Path

import pytest
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
)

sys.path.insert(0, str(Path(__file__).parents[1]))
from sagemaker_emulator import BUCKET, ROLE, WHY_NOT, available_mode

pytest_plugins = ["sagemaker_emulator.testing"]
pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(available_mode() is None, reason=WHY_NOT),
]
NAME = "rlvr_sagemaker"
TRAIN = Path(__file__).parents[2] / "train.py"


def created(emulator):
    return [request["TrainingJobName"] for request in emulator.requests]


def test_a_sweep_brings_everything_back(cloud, emulator, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "train.jsonl").write_text('{"question": "1+1"}')

    output = cloud.run("shots=0,2,4,8", "steps=3,4", f"dataset.path={data}", "launcher.n_jobs=4")

    assert cloud.states() == ["finished"] * 8
    assert [job.value for job in cloud.manifest().jobs] == [0, 0, 0.2, 0.2, 0.4, 0.4, 0.8, 0.8]
    assert cloud.steps(1) == [1, 2, 3, 4]
    assert (cloud.directory(3) / "model" / "adapter.txt").read_text() == "shots=2"
    assert 'data {"question": "1+1"}' in cloud.log(5)
    assert "[rlvr] the job has ended with exit code 0" in cloud.log(7)
    assert cloud.result(0)["cost"] > 0
    assert not list((cloud.sweep() / "0").glob("checkpoints"))
    kinds = [key.split("/")[3] for key in emulator.uploads if key.count("/") > 2]
    assert kinds.count("code") == 2, "one archive and its marker"
    assert kinds.count("data") == 2, "one file and its marker"
    assert len(set(created(emulator))) == 8
    print(output, dict(emulator.calls), sep="\n")


def test_failures_are_told_with_their_reason(cloud, emulator):
    output = cloud.run("do=ok,raise,oom", code=1)
    assert cloud.states() == ["finished", "failed", "failed"]
    errors = [job.error for job in cloud.manifest().jobs]
    assert errors[1] == 'ValueError: this job was told to fail; it\'s "quoted" & $odd'
    assert errors[2].endswith(
        "the worker was killed by SIGKILL: most likely out of memory, take a larger instance, "
        "exit code: 137"
    )
    assert "in run_job" in cloud.result(1)["traceback"]
    reasons = [emulator.jobs[name].failure_reason for name in created(emulator)]
    assert any(reason.startswith("AlgorithmError: ValueError: this job") for reason in reasons)
    assert "this job was told to fail" in output


def test_a_job_past_its_runtime_is_killed_not_finished(cloud):
    cloud.run("steps=300", "launcher.max_runtime=4", code=1)
    job = cloud.manifest().jobs[0]
    assert job.state == "killed"
    assert "launcher.max_runtime=4" in job.error
    assert cloud.result(0)["status"] == "killed", "the worker was told in time"


def test_spot_goes_on_from_its_checkpoint(cloud, emulator):
    """Saving every second step, an interruption falls between checkpoints."""
    process = cloud.start(
        *("steps=12", "seconds=0.3", "save_steps=2", *tracked(emulator)),
        *("launcher.spot=true", "launcher.max_wait=2000"),
    )
    for life in (1, 2):
        cloud.wait_steps(1, step=3 * life)
        (job,) = emulator.jobs.values()
        job.interrupt()
        while job.starts == life:
            time.sleep(0.05)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert cloud.steps(0) == list(range(1, 13)), "no step twice, none missing"
    log = cloud.log(0)
    assert "start number 3, going on after step" in log
    assert log.count("[rlvr] ---- algo-1, start") == 3
    assert "going on after step 0" in log
    assert cloud.result(0)["status"] == "finished"
    record = cloud.manifest()
    points = history(record, "reward/total")
    assert sorted(points) == list(range(1, 13)), "MLflow has every step once"


def tracked(emulator):
    """One store for all tests: making one takes seconds."""
    return "tracking.name=mlflow", f"tracking.uri=sqlite:///{emulator.cache}/mlflow.db"


def history(manifest, metric, index=0):
    from mlflow import MlflowClient

    client = MlflowClient(manifest.tracking.uri)
    run = client.get_run(manifest.jobs[index].run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["trained/accuracy"] == 0.5
    assert run.data.tags["mlflow.parentRunId"] == manifest.tracking.parent_run_id
    assert "result.json" in {item.path for item in client.list_artifacts(run.info.run_id)}
    return [point.step for point in client.get_metric_history(run.info.run_id, metric)]


def test_no_secret_leaves_the_secrets_manager(cloud, emulator):
    """The job gets its token; nobody who can read anything else finds it, nor the launcher's."""
    canaries = ["hf_" + "job" * 12, "hf_" + "own" * 12]
    secrets = emulator.client("secretsmanager")
    arn = secrets.create_secret(Name="hub", SecretString=canaries[0])["ARN"]
    cloud.environment |= {"HF_TOKEN": canaries[1], "HUGGING_FACE_HUB_TOKEN": canaries[1]}

    output = cloud.run(f"launcher.hf_token_secret={arn}", *tracked(emulator))

    digest = hashlib.sha256(canaries[0].encode()).hexdigest()
    assert f"token {digest}" in cloud.log(0), "the job had its token"
    client = emulator.client("sagemaker")
    (name,) = created(emulator)
    described = json.dumps(client.describe_training_job(TrainingJobName=name), default=str)
    places = {"output": output, "request": json.dumps(emulator.requests), "describe": described}
    places |= {
        str(p): content(p.name, p.read_bytes()) for p in files(cloud.outputs, emulator.cache)
    }
    places |= {k: content(k, body) for k, body in objects(emulator)}
    places |= {f"log of {name}": str(emulator.logged(name))}
    assert len(places) > 30
    found = [where for where, text in places.items() for c in canaries if c in text]
    assert not found


def files(*folders):
    return [path for folder in folders for path in folder.rglob("*") if path.is_file()]


def objects(emulator):
    s3 = emulator.client("s3")
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for item in page["Contents"]:
            yield item["Key"], s3.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read()


def content(name, body):
    """Text of a file, of the files in an archive for a tar.gz."""
    if name.endswith(".tar.gz"):
        body = gzip.decompress(body)
    return body.decode(errors="replace")


def test_full_busy_and_late(cloud, emulator):
    """Quota of two, every second call throttled, late logs: slower, but nothing else."""
    emulator.faults.quotas = {"ml.m5.xlarge": 2}
    emulator.faults.throttle = {"*": 2}
    emulator.faults.log_delay = 2.0
    most = watch_most_live(emulator)
    output = cloud.run("shots=range(8)")
    assert cloud.states() == ["finished"] * 8
    assert most() <= 2
    assert len(emulator.requests) == 8
    assert "waiting to submit" in output
    assert all("has ended with exit code 0" in cloud.log(i) for i in range(8))


def watch_most_live(emulator):
    import threading

    seen, stop = [0], threading.Event()

    def watch():
        while not stop.wait(0.02):
            seen.append(sum(job.live for job in list(emulator.jobs.values())))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()

    def most():
        stop.set()
        thread.join()
        return max(seen)

    return most


def test_no_capacity_is_tried_again_elsewhere(cloud, emulator):
    emulator.faults.capacity_errors = 2
    output = cloud.run("launcher.fallback_instance_types=[ml.c5.xlarge,ml.m5.2xlarge]")
    assert cloud.states() == ["finished"]
    kinds = [r["ResourceConfig"]["InstanceType"] for r in emulator.requests]
    assert kinds == ["ml.m5.xlarge", "ml.c5.xlarge", "ml.m5.2xlarge"]
    assert len(cloud.manifest().jobs[0].remote["earlier"]) == 2
    assert "CapacityError" in output


def test_no_capacity_has_an_end(cloud, emulator):
    emulator.faults.capacity_errors = -1
    cloud.run("launcher.retries=1", code=1)
    assert cloud.manifest().jobs[0].error.startswith("CapacityError")
    assert len(emulator.requests) == 2


def test_a_lost_answer_starts_no_second_job(cloud, emulator):
    """The request was carried out, but the answers to it and to six retries never came."""
    emulator.faults.lost_answers = 7
    output = cloud.run("shots=4")
    assert "waiting to submit #0: InternalFailure" in output
    assert cloud.states() == ["finished"]
    assert len(emulator.requests) == 1
    assert cloud.manifest().jobs[0].remote["name"] == created(emulator)[0]


def test_uploads_that_fail_start_nothing(cloud, emulator):
    emulator.faults.fail_puts = -1
    output = cloud.run("shots=0,1", code=1)
    assert "SlowDown" in output
    assert "no job was started" in output
    assert "Traceback" not in output
    assert not emulator.jobs

    emulator.faults.fail_puts = 2  # the SDK's own retries are enough
    cloud.run("shots=0,1", "launcher.resume=last")
    assert cloud.states() == ["finished", "finished"]


def test_two_users_in_the_same_second(cloud, emulator):
    first, second = cloud.start("shots=0,1"), cloud.start("shots=2,3")
    for process in (first, second):
        output, _ = process.communicate(timeout=240)
        assert process.returncode == 0, output
    assert len(set(created(emulator))) == 4
    folders = sorted((cloud.outputs / "sweeps").iterdir())
    values = [
        json.loads((f / job / "result.json").read_text())["shots"]
        for f in folders
        for job in ("0", "1")
    ]
    assert sorted(values) == [0, 1, 2, 3]


@pytest.mark.slow
@pytest.mark.parametrize("moment", [1.5, 5.0])
def test_a_killed_controller_is_resumed(cloud, emulator, moment):
    process = cloud.start("shots=0,1,2", "steps=6", "seconds=0.3", "launcher.n_jobs=2")
    cloud.wait(lambda jobs: len(jobs) == 3)
    time.sleep(moment)
    process.kill()
    process.wait()

    cloud.run("shots=0,1,2", "steps=6", "launcher.n_jobs=2", "seconds=0.3", "launcher.resume=last")

    assert cloud.states() == ["finished"] * 3
    assert [cloud.result(i)["shots"] for i in range(3)] == [0, 1, 2]
    assert [cloud.steps(i) for i in range(3)] == [[1, 2, 3, 4, 5, 6]] * 3
    assert len(emulator.requests) == 3, "no job was started twice"
    assert not any(job.live for job in emulator.jobs.values())


def test_ctrl_c_stops_and_collects(cloud, emulator):
    process = cloud.start("shots=0,1,2", "steps=500", "launcher.n_jobs=2")
    cloud.wait_steps(2)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 130, output
    assert cloud.states() == ["killed", "killed", "pending"]
    assert [job.status for job in emulator.jobs.values()] == ["Stopped", "Stopped"]
    assert cloud.result(0)["status"] == "killed"
    assert "launcher.resume=" in output


def test_ctrl_c_twice_leaves_and_names(cloud, emulator):
    slow = ("do=ignore", "steps=200", "seconds=0.1", "shots=0,1")
    process = cloud.start(*slow)
    cloud.wait_steps(2)
    process.send_signal(signal.SIGINT)
    while any(job.status == "InProgress" for job in emulator.jobs.values()):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 130, output
    for name in created(emulator):
        assert (
            f"aws sagemaker stop-training-job --region us-east-1 --training-job-name {name}"
            in output
        )
    cloud.run(*slow, "launcher.resume=last")
    first, second, *again = emulator.jobs.values()
    assert [first.status, second.status] == ["Stopped", "Stopped"], "both had been told to stop"
    assert all(new.created > max(first.ended, second.ended) for new in again)
    assert cloud.states() == ["finished"] * 2
    assert cloud.steps(0) == list(range(1, 201)), "they went on from their checkpoints"
    assert "start number 2, going on after step" in cloud.log(0)


def test_detached_jobs_are_collected_later(cloud, emulator):
    process = cloud.start("shots=0,1", "steps=20", "launcher.on_interrupt=detach")
    cloud.wait_steps(2)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 130, output
    assert "these jobs go on without the launcher" in output
    for job in emulator.jobs.values():
        assert job.wait(240).status == "Completed"
    cloud.run("shots=0,1", "steps=20", "launcher.resume=last")
    assert cloud.states() == ["finished", "finished"]
    assert cloud.steps(0) == list(range(1, 21))
    assert len(emulator.requests) == 2


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_train_py_gives_the_same_numbers_here_and_there(cloud, saved_model):
    """Real GRPO on the embedded data; the model's folder travels as a channel."""
    common = [
        *(
            "experiment=debug",
            f"model.path={saved_model}",
            "tracking=none",
            "eval.n=8",
            "rewards=random",
        ),
        *("trainer.max_completion_length=16", "trainer.preflight=off"),
        "hydra.sweep.dir=${output_dir}/sweeps/NAME",
    ]
    aws = (f"launcher.role={ROLE}", f"launcher.bucket={BUCKET}", "launcher.poll_seconds=0.5")
    numbers = []
    for name, extra in (("local", ()), ("sagemaker", aws)):
        arguments = [argument.replace("NAME", name) for argument in common]
        cloud.run(f"launcher={name}", *arguments, *extra, script=TRAIN, timeout=500)
        job = cloud.outputs / "sweeps" / name / "0"
        result = json.loads((job / "result.json").read_text())
        assert result["status"] == "finished"
        assert (job / "model" / "model.safetensors").is_file()
        metrics = [json.loads(line) for line in (job / "metrics.jsonl").read_text().splitlines()]
        rewards = [m["reward/total"] for m in metrics if "reward/total" in m]
        losses = [m["train/loss"] for m in metrics if "train/loss" in m]
        scores = [result["base"]["accuracy"], result["trained"]["accuracy"], result["metric"]]
        numbers.append((scores, rewards, losses, result["datasets"]))
    assert len(numbers[0][1]) == 2
    assert numbers[0] == numbers[1]


@pytest.fixture
def hydra_env(emulator, monkeypatch, tmp_path):
    """Hydra's suite gives no launcher settings: they come from the environment."""
    for key, value in emulator.env().items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("RLVR_SAGEMAKER_ROLE", "arn:aws:iam::123456789012:role/emulated-role")
    monkeypatch.setenv("RLVR_SAGEMAKER_BUCKET", BUCKET)
    monkeypatch.setenv("RLVR_SAGEMAKER_POLL_SECONDS", "0.3")
    monkeypatch.setenv("RLVR_SAGEMAKER_REQUIREMENTS", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(emulator.cache))


@pytest.mark.slow
@pytest.mark.usefixtures("hydra_env")
@pytest.mark.parametrize(("launcher_name", "overrides"), [(NAME, [])])
class TestLauncher(LauncherTestSuite):
    pass


@pytest.mark.usefixtures("hydra_env")
@pytest.mark.parametrize(
    ("launcher_name", "overrides"), [(NAME, ["hydra.sweeper.max_batch_size=2"])]
)
class TestBatches(BatchedSweeperTestSuite):
    pass


@pytest.fixture
def shared_tmp(emulator_server, tmp_path):
    """The suite's task writes its findings to a file that the test reads: a shared file system."""
    emulator_server.machine.share.append(tmp_path.parent)
    yield
    emulator_server.machine.share.clear()


@pytest.mark.slow
@pytest.mark.usefixtures("hydra_env", "shared_tmp")
@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"), [({}, ["-m", f"hydra/launcher={NAME}"])]
)
class TestIntegration(IntegrationTestSuite):
    pass
