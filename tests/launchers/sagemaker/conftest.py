"""Jobs, settings and buckets for tests that need no emulator."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.conf import HydraConf, JobConf
from moto import mock_aws
from omegaconf import OmegaConf

from rlvr.cli import parser
from rlvr.launchers.sagemaker import commands, packing
from rlvr.launchers.sagemaker.regions import Regions
from rlvr.launchers.sagemaker.settings import SageMakerSettings
from rlvr.launchers.sagemaker.storage import Storage
from rlvr.launchers.sagemaker.training_job import Submission, TrainingJob
from rlvr.manifest import Job, Manifest, load
from rlvr.sweep.recorded import RecordedSweep
from rlvr.sweep.transport import ResolvedConfig

ROLE = "arn:aws:iam::123456789012:role/x"


def read(**settings) -> SageMakerSettings:
    return SageMakerSettings.read({"role": ROLE, **settings}, "sagemaker")


@pytest.fixture(scope="session")
def packed_once():
    """The real packing, of a project that does not change while it is tested."""
    known, pack = {}, packing.pack

    def pack_once(root, **asked):
        key = repr((root, asked))
        if key not in known:
            known[key] = pack(root, **asked)
        return known[key]

    return pack_once


@pytest.fixture
def aws(monkeypatch, sdk_cache, packed_once):
    monkeypatch.setattr(packing, "pack", packed_once)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("XDG_CACHE_HOME", str(sdk_cache))
    with mock_aws():
        yield


@pytest.fixture
def regions(aws) -> Regions:
    made = Regions(read(region="us-east-1", bucket="bucket"))
    made.service("us-east-1").s3.create_bucket(Bucket="bucket")
    return made


@pytest.fixture
def two_regions(aws) -> Regions:
    """us-east-1 and eu-west-1, each with its bucket."""
    made = Regions(read(region="us-east-1", regions=["eu-west-1"], bucket="bucket-{region}"))
    made.service("us-east-1").s3.create_bucket(Bucket="bucket-us-east-1")
    there = {"LocationConstraint": "eu-west-1"}
    client = made.service("eu-west-1").s3
    client.create_bucket(Bucket="bucket-eu-west-1", CreateBucketConfiguration=there)
    return made


@pytest.fixture
def storage(regions) -> Storage:
    return regions.storage("us-east-1")


@pytest.fixture
def submission(tmp_path) -> Callable[..., Submission]:
    """Job `index` with these launcher settings and this config, its files in its directory."""

    def make(index: int = 0, config: dict | None = None, **settings) -> Submission:
        job = Job(index, f"shots={index}", f"{index:064x}", [f"shots={index}"], str(index))
        hydra = OmegaConf.structured(HydraConf(job=JobConf(name="train")))
        launcher = {"role": ROLE, "region": "us-east-1", **settings}
        job.config = OmegaConf.create({"hydra": hydra, "launcher": launcher, **(config or {})})
        job.directory = tmp_path / str(index)
        job.directory.mkdir()
        (job.directory / "config.yaml").write_text(f"shots: {index}\n")
        return Submission.of(job)

    return make


@pytest.fixture
def training() -> Callable[..., TrainingJob]:
    def make(**changes) -> TrainingJob:
        known = {"name": "job", "region": "us-east-1", "bucket": "bucket", "job_key": "s/1/000"}
        kind = {"instance_type": "ml.g6.xlarge", "hourly": 1.127}
        return TrainingJob(**{**known, **kind, **changes})

    return make


class Told(RecordedSweep):
    """A sweep whose lines are kept in `said`."""

    def __init__(self, directory: Path) -> None:
        command = ["python", "train.py", "-m"]
        record = Manifest("sweep-1", "n", "2025", "sagemaker", command, ResolvedConfig.metric)
        super().__init__(directory, ResolvedConfig("rlvr.worker"), record)
        self.said: list[str] = []
        self.terminal.say = self.said.append

    def state_on_disk(self, index: int = 0) -> Job:
        return load(self.directory).jobs[index]


@pytest.fixture
def sweep(tmp_path) -> Told:
    return Told(tmp_path)


@pytest.fixture
def jobs(cloud, emulator, monkeypatch, capsys):
    """Run `rlvr jobs ...` as a user would, on the emulator; returns what it prints."""
    for key, value in (emulator.env() | {"RLVR_OUTPUT_DIR": str(cloud.outputs)}).items():
        monkeypatch.setenv(key, value)
    commands.service_in.cache_clear()

    def run(*arguments):
        chosen = parser().parse_args(["jobs", *map(str, arguments)])
        capsys.readouterr()
        chosen.run(chosen)
        return capsys.readouterr().out

    return run
