"""Sweeps on the SageMaker emulator: what comes back, and what must not get out."""

import gzip
import hashlib
import json
import shutil
import subprocess
import time

import littered
import pytest
from sagemaker_emulator import BUCKET
from sagemaker_emulator.marks import EMULATED

from rlvr.paths import PROJECT

pytest_plugins = ["sagemaker_emulator.testing"]
pytestmark = [*EMULATED, pytest.mark.slow]


def test_a_sweep_brings_everything_back(cloud, emulator, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "train.jsonl").write_text('{"question": "1+1"}')

    output = cloud.run("shots=0,2", "steps=3,4", f"dataset.path={data}", "launcher.n_jobs=2")

    assert cloud.states() == ["finished"] * 4
    assert [job.value for job in cloud.manifest().jobs] == [0, 0, 0.2, 0.2]
    assert cloud.steps(1) == [1, 2, 3, 4]
    assert (cloud.directory(3) / "model" / "adapter.txt").read_text() == "shots=2"
    assert 'data {"question": "1+1"}' in cloud.log(2)
    assert "[rlvr] the job has ended with exit code 0" in cloud.log(3)
    assert cloud.result(0)["cost"] > 0
    assert not list((cloud.sweep() / "0").glob("checkpoints"))
    kinds = [key.split("/")[3] for key in emulator.uploads if key.count("/") > 2]
    assert kinds.count("code") == 2, "one archive and its marker"
    assert kinds.count("data") == 2, "one file and its marker"
    assert len(set(emulator.created)) == 4
    print(output, dict(emulator.calls), sep="\n")


def test_the_base_model_is_asked_once_in_a_sweep(cloud, emulator):
    cloud.run("ask=true", "shots=0,2", "steps=1", "launcher.n_jobs=1")
    assert "0 of 1 answers are known" in cloud.log(0)
    assert "1 of 1 answers are known" in cloud.log(1)
    kept = [key for key, _ in objects(emulator) if key.startswith("rlvr/evaluations/")]
    assert len(kept) == 1, "one file of answers"


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
    reasons = [emulator.jobs[name].failure_reason for name in emulator.created]
    assert any(reason.startswith("AlgorithmError: ValueError: this job") for reason in reasons)
    assert "this job was told to fail" in output


def test_a_job_past_its_runtime_is_killed_not_finished(cloud):
    cloud.run("steps=300", "launcher.max_runtime=2", code=1)
    job = cloud.manifest().jobs[0]
    assert job.state == "killed"
    assert "launcher.max_runtime=2" in job.error
    assert cloud.result(0)["status"] == "killed", "the worker was told in time"


def test_spot_goes_on_from_its_checkpoint(cloud, emulator, mlflow_uri):
    """Saving every second step, an interruption falls between checkpoints."""
    process = cloud.start(
        *("steps=12", "seconds=0.3", "save_steps=2", *tracked(mlflow_uri)),
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
    assert "start number 3" in log
    assert log.count("[rlvr] ---- algo-1, start") == 3
    assert "going on after step 0" in log
    assert cloud.result(0)["status"] == "finished"
    record = cloud.manifest()
    points = history(record, "reward/total")
    assert sorted(points) == list(range(1, 13)), "MLflow has every step once"


def tracked(uri):
    return "tracking.name=mlflow", f"tracking.uri={uri}"


def history(manifest, metric, index=0):
    from mlflow import MlflowClient

    client = MlflowClient(manifest.tracking.uri)
    run = client.get_run(manifest.jobs[index].run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["trained/accuracy"] == 0.5
    assert run.data.tags["mlflow.parentRunId"] == manifest.tracking.parent_run_id
    assert "result.json" in {item.path for item in client.list_artifacts(run.info.run_id)}
    return [point.step for point in client.get_metric_history(run.info.run_id, metric)]


def test_no_secret_leaves_the_secrets_manager(cloud, emulator, mlflow_uri):
    """The job gets its token; nobody who can read anything else finds it, nor the launcher's."""
    canaries = ["hf_" + "job" * 12, "hf_" + "own" * 12]
    secrets = emulator.client("secretsmanager")
    arn = secrets.create_secret(Name="hub", SecretString=canaries[0])["ARN"]
    cloud.environment |= {"HF_TOKEN": canaries[1], "HUGGING_FACE_HUB_TOKEN": canaries[1]}

    output = cloud.run(f"launcher.hf_token_secret={arn}", *tracked(mlflow_uri))

    digest = hashlib.sha256(canaries[0].encode()).hexdigest()
    assert f"token {digest}" in cloud.log(0), "the job had its token"
    client = emulator.client("sagemaker")
    (name,) = emulator.created
    described = json.dumps(client.describe_training_job(TrainingJobName=name), default=str)
    places = {"output": output, "request": json.dumps(emulator.requests), "describe": described}
    files = [path for path in cloud.outputs.rglob("*") if path.is_file()]
    assert any(path.name == "mlflow.db" for path in files)
    places |= {str(path): content(path.name, path.read_bytes()) for path in files}
    places |= {k: content(k, body) for k, body in objects(emulator)}
    places |= {f"log of {name}": str(emulator.logged(name))}
    assert len(places) > 30
    found = [where for where, text in places.items() for c in canaries if c in text]
    assert not found


@pytest.fixture
def clone(cloud, tmp_path):
    """A clone of this project, and the sweeps started from it."""
    root = tmp_path / "clone"
    listed = subprocess.run(
        ["git", "-C", str(PROJECT), "ls-files", "-co", "--exclude-standard", "rlvr", "launchers"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    for name in filter(None, listed):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, root / name)
    (root / "train.py").write_text("")
    subprocess.run(["git", "-C", str(root), "init", "-q"], check=True)
    cloud.environment["PYTHONPATH"] = f"{root}:{root / 'launchers'}"
    return root


def test_a_littered_clone_keeps_its_secrets(cloud, emulator, clone, mlflow_uri):
    """Ignored they stay here, in every form; what is not ignored stops the sweep by its name."""
    for name in littered.FILES:
        path = clone / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(littered.content(name))
    cloud.environment |= {"HF_TOKEN": littered.CANARY, "WANDB_API_KEY": littered.CANARY}
    refused = cloud.run("steps=1", code=1)
    assert not [name for name in littered.FILES if name not in refused], "each is named"
    assert not emulator.requests
    assert not emulator.uploads

    (clone / ".gitignore").write_text("\n".join(f"/{name}" for name in littered.FILES) + "\n")
    secret = cloud.run("steps=1", f"+launcher.environment.MY_PASSWORD={littered.CANARY}", code=1)
    assert "MY_PASSWORD looks like a secret" in secret
    assert not emulator.uploads
    output = cloud.run("steps=1", *tracked(mlflow_uri))
    (name,) = emulator.created
    client = emulator.client("sagemaker")
    places = {"refused": refused, "output": output, "requests": json.dumps(emulator.requests)}
    places["describe"] = str(client.describe_training_job(TrainingJobName=name))
    places["log"] = str(emulator.logged(name))
    found = {where: text.encode() for where, text in places.items()}
    left = [path for path in cloud.outputs.rglob("*") if path.is_file()]
    found |= {str(p): p.read_bytes() for p in left if not p.is_relative_to(clone)}
    found |= dict(objects(emulator))
    unpacked = {n: gzip.decompress(b) if n.endswith(".tar.gz") else b for n, b in found.items()}
    assert any(name.endswith("mlflow.db") for name in unpacked)
    assert any(name.endswith("code.tar.gz") for name in unpacked)
    assert not [where for where, body in unpacked.items() if littered.hidden_in(body)]


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
