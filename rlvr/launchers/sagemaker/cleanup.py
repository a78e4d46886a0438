"""What SageMaker has of ours and no record on this machine knows: found by tag, shown, deleted."""

import argparse
import sys
from dataclasses import dataclass
from typing import Any

from rlvr import manifest
from rlvr.errors import UserError
from rlvr.launchers.sagemaker import pricing
from rlvr.launchers.sagemaker.service import Service
from rlvr.launchers.sagemaker.storage import Storage, split
from rlvr.launchers.sagemaker.training_job import SWEEP_TAG, TrainingJob
from rlvr.paths import output_dir


@dataclass
class Stray:
    """The training jobs of a sweep that no record knows."""

    sweep_id: str
    jobs: list[TrainingJob]

    @property
    def live(self) -> list[TrainingJob]:
        return [job for job in self.jobs if not job.state.ended]

    @property
    def warm(self) -> list[TrainingJob]:
        return [job for job in self.jobs if job.kept_warm]

    def describe(self) -> str:
        costs = [job.cost or 0.0 for job in self.jobs]
        return (
            f"sweep {self.sweep_id}: {len(self.jobs)} training jobs, {len(self.live)} running, "
            f"{len(self.warm)} instances kept warm, {pricing.describe(sum(costs))}"
        )


def strays(service: Service) -> list[Stray]:
    """The newest first."""
    records = manifest.readable(output_dir() / "sweeps").values()
    known = {record.sweep_id for record in records}
    found: dict[str, Stray] = {}
    for described in service.search(SWEEP_TAG):
        tags = {tag["Key"]: tag["Value"] for tag in described.get("Tags", [])}
        sweep_id = tags[SWEEP_TAG]
        if sweep_id not in known:
            stray = found.setdefault(sweep_id, Stray(sweep_id, []))
            stray.jobs.append(described_job(described, service))
    return list(found.values())


def show(chosen: argparse.Namespace) -> None:
    service = Service.connect(chosen.region)
    found = strays(service)
    print(f"on SageMaker in {service.region}, not known here: {len(found)} sweeps")
    for stray in found:
        print(f"  {stray.describe()}")


def unknown(chosen: argparse.Namespace) -> None:
    """Stop what runs, give back what is kept warm, and delete the files, all shown before.

    A sweep that another machine watches is not known here either: hence the question.
    """
    service = Service.connect(chosen.region)
    found = strays(service)
    if not found:
        print(f"nothing on SageMaker in {service.region} but what records here know")
        return
    files = {stray.sweep_id: _files(stray, service) for stray in found}
    for stray in found:
        storage, objects = files[stray.sweep_id]
        size = sum(objects.values()) / 1e6
        print(stray.describe())
        print(f"  s3://{storage.bucket}: {len(objects)} objects, {size:.1f} MB")
        for job in stray.live + stray.warm:
            print(f"  {job.name}  {job.note or job.status}")
    if not confirmed(
        "stop these jobs, give back the instances and delete the objects? Other machines may still "
        "need them",
        chosen.yes,
    ):
        return
    for stray in found:
        for job in stray.live:
            service.stop(job.name)
        for job in stray.warm:
            service.release(job.name)
        if stray.live:
            print(f"{stray.sweep_id}: its jobs are stopping; their files stay until none runs")
            continue
        storage, objects = files[stray.sweep_id]
        storage.delete(list(objects))
        print(f"{stray.sweep_id}: deleted {len(objects)} objects")


def _files(stray: Stray, service: Service) -> tuple[Storage, dict[str, int]]:
    """Below the sweep's own folder; code, data and drivers may serve other sweeps."""
    first = stray.jobs[0]
    storage = Storage(service, first.bucket, "")
    return storage, dict(storage.walk(first.job_key.rpartition("/")[0] + "/"))


def described_job(described: dict[str, Any], service: Service) -> TrainingJob:
    """From what DescribeTrainingJob or Search say."""
    bucket, key = split(described["CheckpointConfig"]["S3Uri"])
    resources = described["ResourceConfig"]
    kind, count = resources["InstanceType"], resources["InstanceCount"]
    table = pricing.prices(service.region)
    price = table and table.hourly(kind, count, resources.get("VolumeSizeInGB", 0))
    hourly, hourly_disks = price or (None, 0.0)
    training = TrainingJob(
        name=described["TrainingJobName"],
        region=service.region,
        bucket=bucket,
        job_key=key.removesuffix("/checkpoints"),
        instance_type=kind,
        instance_count=count,
        spot=bool(described.get("EnableManagedSpotTraining")),
        hourly=hourly,
        hourly_disks=hourly_disks,
    )
    training.update(described, service.now())
    return training


def confirmed(question: str, yes: bool) -> bool:
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UserError("add -y to do this without being asked")
    return input(f"{question} [y/N] ").strip().lower() == "y"
