"""Jobs, settings and a bucket for tests that need no emulator."""

from collections.abc import Callable
from pathlib import Path

import boto3
import pytest
from hydra.conf import HydraConf, JobConf
from moto import mock_aws
from omegaconf import OmegaConf

from rlvr.launchers.sagemaker.settings import Settings
from rlvr.launchers.sagemaker.storage import Storage
from rlvr.launchers.sagemaker.training_job import Submission, TrainingJob
from rlvr.manifest import Job, Manifest, load
from rlvr.sweep.controller import Sweep
from rlvr.sweep.terminal import Terminal
from rlvr.sweep.transport import ResolvedConfig

ROLE = "arn:aws:iam::123456789012:role/x"


@pytest.fixture
def aws(monkeypatch, sdk_cache):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("XDG_CACHE_HOME", str(sdk_cache))
    with mock_aws():
        yield


@pytest.fixture
def storage(aws) -> Storage:
    client = boto3.client("s3", "us-east-1")
    client.create_bucket(Bucket="bucket")
    return Storage(client, "bucket", "rlvr")


@pytest.fixture
def submission(tmp_path) -> Callable[..., Submission]:
    """Job `index` with these launcher settings and this config, its files in its directory."""

    def make(index: int = 0, config: dict | None = None, **settings) -> Submission:
        config = {"launcher": {"role": ROLE, **settings}, **(config or {})}
        job = Job(index, f"shots={index}", f"{index:064x}", [f"shots={index}"], str(index))
        hydra = OmegaConf.structured(HydraConf(job=JobConf(name="train")))
        job.config = OmegaConf.create({"hydra": hydra, **config})
        job.directory = tmp_path / str(index)
        job.directory.mkdir()
        (job.directory / "config.yaml").write_text(f"shots: {index}\n")
        return Submission(job, Settings.read(config["launcher"]), config)

    return make


@pytest.fixture
def training() -> Callable[..., TrainingJob]:
    def make(**changes) -> TrainingJob:
        known = {"name": "job", "region": "us-east-1", "bucket": "bucket", "job_key": "s/1/000"}
        return TrainingJob(**{**known, "instance_type": "ml.g6.xlarge", **changes})

    return make


class RecordedSweep(Sweep):
    """The real one, without Hydra: a manifest in `directory`, and lines kept in `said`."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.said = directory, []
        self.transport = ResolvedConfig("rlvr.worker")
        self.terminal = Terminal()
        self.terminal.say = self.said.append
        self._record = Manifest("sweep-1", "n", "2025", "sagemaker", [], "metric")

    def state_on_disk(self, index: int = 0) -> Job:
        return load(self.directory).jobs[index]


@pytest.fixture
def sweep(tmp_path) -> RecordedSweep:
    return RecordedSweep(tmp_path)
