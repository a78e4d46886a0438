"""`rlvr jobs`: a sweep's SageMaker jobs, from its manifest or, where that is lost, from tags."""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rlvr import manifest
from rlvr.errors import UserError
from rlvr.launchers.sagemaker import collect, pricing
from rlvr.launchers.sagemaker.logs import LogFollower
from rlvr.launchers.sagemaker.service import Service, aws_errors, explain
from rlvr.launchers.sagemaker.storage import Storage, split
from rlvr.launchers.sagemaker.training_job import INDEX_TAG, SWEEP_TAG, TrainingJob


@dataclass
class Item:
    """A job as a command sees it; `directory` is None when only tags are left."""

    index: int
    name: str
    remote: TrainingJob
    directory: Path | None = None
    job: manifest.Job | None = None


def run(chosen: argparse.Namespace) -> None:
    """Dispatch; AWS errors become messages."""
    try:
        found = _find(chosen)
        if not found:
            raise UserError(f"no SageMaker jobs found for sweep {chosen.sweep}")
        _RUN[chosen.action](found, chosen)
    except aws_errors() as error:
        raise UserError(explain(error)) from error


def _find(chosen: argparse.Namespace) -> list[Item]:
    try:
        directory = manifest.find(chosen.sweep)
    except UserError:
        if chosen.sweep == "last" or Path(chosen.sweep).exists():
            raise
        items = list(_by_tag(chosen.sweep, chosen.region))
    else:
        items = list(_by_manifest(directory))
    return [item for item in items if chosen.job is None or item.index in chosen.job]


def _by_manifest(directory: Path) -> Iterator[Item]:
    for job in manifest.load(directory).jobs:
        if job.remote and "name" in job.remote:
            remote = TrainingJob.read(job.remote)
            yield Item(job.index, job.name, remote, directory / job.dir, job)


def _by_tag(sweep_id: str, region: str | None) -> Iterator[Item]:
    """The newest submission of each job of the sweep."""
    service, seen = Service.connect(region), set()
    for described in service.search(SWEEP_TAG, sweep_id):
        tags = {tag["Key"]: tag["Value"] for tag in described.get("Tags", [])}
        index = int(tags.get(INDEX_TAG, -1))
        if index not in seen:
            seen.add(index)
            yield Item(index, tags.get("rlvr.overrides", ""), _remote_of(described, service.region))


def _remote_of(described: dict[str, Any], region: str) -> TrainingJob:
    bucket, key = split(described["CheckpointConfig"]["S3Uri"])
    resources = described["ResourceConfig"]
    remote = TrainingJob(
        name=described["TrainingJobName"],
        region=region,
        bucket=bucket,
        job_key=key.removesuffix("/checkpoints"),
        instance_type=resources["InstanceType"],
        instance_count=resources["InstanceCount"],
        spot=bool(described.get("EnableManagedSpotTraining")),
    )
    remote.update(described, time.time())
    return remote


def _refresh(item: Item) -> bool:
    """Ask SageMaker; False for a job it no longer knows."""
    described = _service(item).describe(item.remote.name)
    if described is not None:
        item.remote.update(described, time.time())
    return described is not None


_services: dict[str, Service] = {}


def _service(item: Item) -> Service:
    region = item.remote.region
    if region not in _services:
        _services[region] = Service.connect(region)
    return _services[region]


def _storage(item: Item) -> Storage:
    return Storage(_service(item).s3, item.remote.bucket, "")


def _list(items: list[Item], chosen: argparse.Namespace) -> None:
    _table(items)


def _status(items: list[Item], chosen: argparse.Namespace) -> None:
    for item in items:
        if not _refresh(item):
            item.remote.note = "unknown to SageMaker"
    _table(items)


def _cost(items: list[Item], chosen: argparse.Namespace) -> None:
    _status(items, chosen)
    known = [item.remote.cost for item in items if item.remote.cost is not None]
    print(f"total: {pricing.describe(sum(known))} for {len(known)} of {len(items)} jobs")


def _table(items: list[Item]) -> None:
    for item in sorted(items, key=lambda item: item.index):
        remote = item.remote
        state = item.job.state if item.job else "-"
        minutes = (remote.training_seconds or 0) / 60
        print(
            f"#{item.index:<3} {state:<9} {remote.note or remote.status:<18} "
            f"{remote.instance_type:<16} {minutes:7.1f} min  {pricing.describe(remote.cost):>9}  "
            f"{item.name}\n     {remote.name}  {_service(item).console(remote.name)}"
        )


def _logs(items: list[Item], chosen: argparse.Namespace) -> None:
    import tempfile

    for item in items:
        with tempfile.TemporaryDirectory() as folder:
            _follow(item, Path(folder) / "log", follow=chosen.follow)


def _follow(item: Item, file: Path, *, follow: bool) -> None:
    follower, shown = LogFollower(_service(item), item.remote.name, file), 0
    while True:
        follower.poll()
        text = file.read_text(encoding="utf-8")
        sys.stdout.write(text[shown:])
        sys.stdout.flush()
        shown = len(text)
        ended = not _refresh(item) or item.remote.state.ended
        if not follow or (ended and follower.complete):
            return
        time.sleep(2)
        if ended and not follower.poll():
            return


def _stop(items: list[Item], chosen: argparse.Namespace) -> None:
    known = [item for item in items if _refresh(item)]
    live = [item for item in known if not item.remote.state.ended]
    warm = [item for item in known if item.remote.kept_warm]
    if not live and not warm:
        print("no job is running, no instance is kept warm")
        return
    _table(live + warm)
    question = f"stop {len(live)} jobs and give back {len(warm)} warm instances?"
    if not _confirmed(question, chosen.yes):
        return
    for item in live:
        told = _service(item).stop(item.remote.name)
        print(f"#{item.index} {'is stopping' if told else 'had ended already'}")
    for item in warm:
        _service(item).release(item.remote.name)
        print(f"#{item.index} its warm instance is given back")


def _collect(items: list[Item], chosen: argparse.Namespace) -> None:
    for item in items:
        if not _refresh(item):
            print(f"#{item.index}: SageMaker does not know {item.remote.name}")
            continue
        if not item.remote.state.ended:
            print(f"#{item.index} still runs ({item.remote.note})")
            continue
        directory = item.directory or (chosen.into or Path.cwd()) / str(item.index)
        directory.mkdir(parents=True, exist_ok=True)
        log = directory / "train.log"
        LogFollower(_service(item), item.remote.name, log).poll()
        collect.fetch(_storage(item), item.remote, directory, log=log.name)
        print(f"#{item.index} {item.remote.note}: {directory}")
    print("to take the results into the sweep's record, resume it with launcher.resume=DIRECTORY")


def _cleanup(items: list[Item], chosen: argparse.Namespace) -> None:
    """Only what belongs to these jobs: code, data and drivers may serve other sweeps."""
    running = [item for item in items if _refresh(item) and not item.remote.state.ended]
    if running:
        raise UserError(f"{len(running)} jobs still run: stop them first with `rlvr jobs stop`")
    keys: list[str] = []
    for item in items:
        found = list(_storage(item).walk(f"{item.remote.job_key}/"))
        keys += [key for key, _ in found]
        size = sum(size for _, size in found) / 1e6
        print(
            f"s3://{item.remote.bucket}/{item.remote.job_key}/: {len(found)} objects, {size:.1f} MB"
        )
    if keys and _confirmed(f"delete these {len(keys)} objects?", chosen.yes):
        _storage(items[0]).delete(keys)
        print(f"{datetime.now(UTC):%H:%M:%S} deleted {len(keys)} objects")


def _confirmed(question: str, yes: bool) -> bool:
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UserError("add -y to do this without being asked")
    return input(f"{question} [y/N] ").strip().lower() == "y"


_RUN = {
    "list": _list,
    "status": _status,
    "logs": _logs,
    "stop": _stop,
    "collect": _collect,
    "cost": _cost,
    "cleanup": _cleanup,
}
