"""`launcher.dry_run=true` prints what would be sent, byte for byte, and does nothing."""

import json
import os
import re

import pytest
from sagemaker_emulator.marks import EMULATED

pytest_plugins = ["sagemaker_emulator.testing"]
pytestmark = EMULATED


def printed(output):
    """The requests, as text."""
    return [
        part.partition("\n")[2].partition("\n}\n")[0] + "\n}"
        for part in re.split(r"^# job ", output, flags=re.MULTILINE)[1:]
    ]


def without_ids(text):
    """What only a real sweep has: its own id, also within job names, and MLflow's run ids."""
    text = re.sub(r"\b\d{8}-\d{6}-[0-9a-f]{4}\b", "SWEEP", text)
    text = re.sub(r"rlvr-[0-9a-f]{8}-(\d{3}-[0-9a-f]{6}-1)\b", r"rlvr-\1", text)
    return re.sub(r'("RLVR_RUN_ID": )"[0-9a-f]{32}"', r'\1"RUN"', text)


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ("shots=0,2",),
        ("+trainer.distributed=none,zero3", "launcher.requirements=auto"),
        ("launcher.spot=true", "launcher.max_wait=2000", "+launcher.volume_gb=7"),
        ("launcher.instance_count=2", "launcher.warm_pool=600", "+launcher.tags={a: b}"),
        ("tracking.name=mlflow", "tracking.uri=URI"),
    ],
    ids=["plain", "zero3", "spot", "hosts", "tracked"],
)
def test_the_requests_are_those_of_the_real_run(cloud, emulator, reachable_store, overrides):
    overrides = [o.replace("URI", reachable_store) for o in (*overrides, "steps=1")]
    dry = cloud.run(*overrides, "launcher.dry_run=true")
    assert not emulator.requests
    assert not emulator.uploads
    assert not emulator.calls, "AWS is not even asked who this is"
    assert not list((cloud.outputs / "sweeps").glob("*/sweep.json"))
    assert "rlvr/worker.py\n" in dry, "the files that would go up"

    start_only(cloud, emulator, overrides, len(printed(dry)))
    # in the order of their numbers: the emulator has them as they came
    sent = [json.dumps(request, indent=2) for request in emulator.requests]
    assert [without_ids(text) for text in printed(dry)] == [without_ids(text) for text in sent]
    if "tracking.name=mlflow" in overrides:
        assert all("RLVR_RUN_ID" in text for text in sent)
    if "zero3" in str(overrides):
        codes = {re.search(r"rlvr/code/(\w+)/", text)[1] for text in sent}
        assert len(codes) == 2, "DeepSpeed is for one of them"


def start_only(cloud, emulator, overrides, number):
    """A real run, until its requests have been sent."""
    process = cloud.start(*overrides)
    cloud.wait(lambda jobs: len(emulator.requests) == number)
    cloud.kill()
    assert process.returncode is not None
    for job in emulator.jobs.values():
        job.kill()


@pytest.fixture
def reachable_store(cloud, mlflow_uri, tmp_path):
    """A SQLite file that the launcher takes for a server: a real one takes a minute to start."""
    folder = tmp_path / "pretend"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "from rlvr.launchers.sagemaker import payload\n"
        "payload.reachable = lambda uri: uri is not None\n"
    )
    inherited = cloud.environment["PYTHONPATH"]
    cloud.environment["PYTHONPATH"] = f"{folder}{os.pathsep}{inherited}"
    return mlflow_uri
