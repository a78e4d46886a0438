"""`rlvr jobs`: a sweep's SageMaker jobs, from its manifest or, where that is lost, from tags."""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from rlvr import manifest, result
from rlvr.errors import UserError
from rlvr.launchers.sagemaker import budget, cleanup, collect, detached, pricing
from rlvr.launchers.sagemaker.cleanup import confirmed, described_job
from rlvr.launchers.sagemaker.logs import LogFollower
from rlvr.launchers.sagemaker.service import Service, aws_errors, explain
from rlvr.launchers.sagemaker.storage import Storage
from rlvr.launchers.sagemaker.training_job import INDEX_TAG, SWEEP_TAG, TrainingJob
from rlvr.launchers.sagemaker.watch import refresh
from rlvr.manifest import Job

# Where only tags are left, a job has no hash and no directory.
Jobs: TypeAlias = list[tuple[Job, TrainingJob]]


def run(chosen: argparse.Namespace) -> None:
    """Dispatch; AWS errors become messages."""
    try:
        if chosen.sweep is None:
            (cleanup.unknown if chosen.action == "cleanup" else cleanup.show)(chosen)
            return
        if chosen.sweep.startswith("s3://"):
            chosen.sweep = str(detached.locate(chosen.sweep, chosen.region))
        if chosen.action == "watch":
            detached.watch(manifest.find(chosen.sweep), once=chosen.once)
            return
        found = _find(chosen)
        if not found:
            raise UserError(f"no SageMaker jobs found for sweep {chosen.sweep}")
        ACTIONS[chosen.action](found, chosen)
    except aws_errors() as error:
        raise UserError(explain(error)) from error


def _find(chosen: argparse.Namespace) -> Jobs:
    """Of each job its last attempt; one that waits for another has only those before it."""
    try:
        directory = manifest.find(chosen.sweep)
    except UserError:
        if chosen.sweep == "last" or Path(chosen.sweep).exists():
            raise
        jobs = list(_by_tag(chosen.sweep, chosen.region))
    else:
        jobs = [
            (job, training)
            for job in manifest.load(directory).jobs
            if (training := TrainingJob.last(job)) is not None
        ]
    return [found for found in jobs if chosen.job is None or found[0].index in chosen.job]


def _by_tag(sweep_id: str, region: str | None) -> Iterator[tuple[Job, TrainingJob]]:
    """The newest attempt at each job of the sweep, with what those before it have cost."""
    service = Service.connect(region)
    jobs: dict[int, tuple[Job, TrainingJob]] = {}
    for described in service.search(SWEEP_TAG, sweep_id):
        tags = {tag["Key"]: tag["Value"] for tag in described.get("Tags", [])}
        index, training = int(tags.get(INDEX_TAG, -1)), described_job(described, service)
        if index in jobs:
            jobs[index][0].spent += training.cost or 0.0
        else:
            name = tags.get("rlvr.overrides", "")
            job = Job(index, name, hash="", overrides=[], dir="", state=training.state)
            jobs[index] = (job, training)
    yield from jobs.values()


@lru_cache
def service_in(region: str) -> Service:
    return Service.connect(region)


def _storage(training: TrainingJob) -> Storage:
    return Storage(service_in(training.region), training.bucket, "")


def _refresh(training: TrainingJob) -> bool:
    return refresh(training, service_in(training.region))


def _list(jobs: Jobs, chosen: argparse.Namespace) -> None:
    for job, training in sorted(jobs, key=lambda found: found[0].index):
        minutes = (training.training_seconds or 0) / 60
        print(
            f"#{job.index:<3} {job.state:<9} {training.note or training.status:<18} "
            f"{training.instance_type:<16} {minutes:7.1f} min  "
            f"{pricing.describe(_cost_of(job, training)):>9}  {job.name}\n"
            f"     {training.name}  {service_in(training.region).console(training.name)}"
        )


def _status(jobs: Jobs, chosen: argparse.Namespace) -> None:
    for _, training in jobs:
        if not _refresh(training):
            training.note = "unknown to SageMaker"
    _list(jobs, chosen)


def _cost_of(job: Job, training: TrainingJob) -> float | None:
    """Of all attempts; one that is waited for again is among `spent` already."""
    if training.cost is None:
        return None
    return job.spent + (0.0 if job.dir and job.remote is None else training.cost)


def _cost(jobs: Jobs, chosen: argparse.Namespace) -> None:
    _status(jobs, chosen)
    costs = [_cost_of(job, training) for job, training in jobs]
    known = [cost for cost in costs if cost is not None]
    print(f"total: {pricing.describe(sum(known))} for {len(known)} of {len(jobs)} jobs")
    ended = [replace(job, remote=training.entry()) for job, training in jobs if job.state.ended]
    print(budget.summary(ended, lambda job: result.read(job.directory)))


def prices(chosen: argparse.Namespace) -> None:
    """Show the table, after asking AWS where it is to be refreshed."""
    if chosen.refresh:
        service = Service.connect(chosen.region)
        # AWS tells prices of all regions in a few of them
        client = service.session.client("pricing", region_name="us-east-1")
        try:
            pricing.refresh(service.region, client)
        except aws_errors() as error:
            raise UserError(f"AWS does not tell its prices: {explain(error)}") from error
    region = Service.connect(chosen.region).region
    table = pricing.prices(region)
    if table is None:
        raise UserError(
            f"no prices of {region} are known here: rlvr jobs prices --refresh --region {region}"
        )
    print(f"US dollars per instance and hour, {table.source()}")
    for kind, price in sorted(table.instances.items()):
        print(f"{kind:<20} {price:9.3f}")


def _logs(jobs: Jobs, chosen: argparse.Namespace) -> None:
    for _, training in jobs:
        with tempfile.TemporaryDirectory() as folder:
            _follow(training, Path(folder) / "log", follow=chosen.follow)


def _follow(training: TrainingJob, file: Path, *, follow: bool) -> None:
    follower, shown = LogFollower(service_in(training.region), training.name, file), 0
    while True:
        follower.poll()
        text = file.read_text(encoding="utf-8")
        sys.stdout.write(text[shown:])
        sys.stdout.flush()
        shown = len(text)
        ended = not _refresh(training) or training.state.ended
        if not follow or (ended and follower.complete):
            return
        time.sleep(2)
        if ended and not follower.poll():
            return


def _stop(jobs: Jobs, chosen: argparse.Namespace) -> None:
    known = [found for found in jobs if _refresh(found[1])]
    live = [(job, training) for job, training in known if not training.state.ended]
    warm = [(job, training) for job, training in known if training.kept_warm]
    if not live and not warm:
        print("no job is running, no instance is kept warm")
        return
    _list(live + warm, chosen)
    question = f"stop {len(live)} jobs and give back {len(warm)} warm instances?"
    if not confirmed(question, chosen.yes):
        return
    for job, training in live:
        stopping = service_in(training.region).stop(training.name)
        print(f"#{job.index} {'is stopping' if stopping else 'had ended already'}")
    for job, training in warm:
        service_in(training.region).release(training.name)
        print(f"#{job.index} its warm instance is given back")


def _collect(jobs: Jobs, chosen: argparse.Namespace) -> None:
    """Those that run by the record go through the sweep's runner, so that it learns of their end.

    Of the others the files are fetched again, to a folder of its own where only tags are left.
    """
    if any(job.is_remote() for job, _ in jobs):
        detached.watch(manifest.find(chosen.sweep), once=True, only_collect=True)
        return
    for job, training in jobs:
        if not _refresh(training) or not training.state.ended:
            print(f"#{job.index} {training.name}: {training.note or 'unknown to SageMaker'}")
            continue
        directory = job.directory if job.dir else (chosen.into or Path.cwd()) / str(job.index)
        directory.mkdir(parents=True, exist_ok=True)
        log = directory / "train.log"
        LogFollower(service_in(training.region), training.name, log).poll()
        collect.fetch(_storage(training), training, directory, log=log.name, spent=job.spent)
        print(f"#{job.index} {training.note}: {directory}")


def _cleanup(jobs: Jobs, chosen: argparse.Namespace) -> None:
    """Only what belongs to these jobs: code, data and drivers may serve other sweeps."""
    running = [t for _, t in jobs if _refresh(t) and not t.state.ended]
    if running:
        raise UserError(f"{len(running)} jobs still run: stop them first with `rlvr jobs stop`")
    found: list[tuple[Storage, list[str]]] = []
    for storage, folder in _folders(jobs, whole=chosen.job is None).values():
        objects = dict(storage.walk(folder))
        found.append((storage, list(objects)))
        size = sum(objects.values()) / 1e6
        print(f"s3://{storage.bucket}/{folder}: {len(objects)} objects, {size:.1f} MB")
    number = sum(len(keys) for _, keys in found)
    if number and confirmed(f"delete these {number} objects?", chosen.yes):
        for storage, keys in found:
            storage.delete(keys)
        print(f"{datetime.now(UTC):%H:%M:%S} deleted {number} objects")


def _folders(jobs: Jobs, *, whole: bool) -> dict[tuple[str, str], tuple[Storage, str]]:
    """Of all attempts, which may have run in several regions; the sweep's own for all its jobs."""
    folders = {}
    for job, training in jobs:
        for attempt in TrainingJob.every(job) or [training]:
            key = attempt.job_key.rpartition("/")[0] if whole else attempt.job_key
            folders[attempt.bucket, key] = (_storage(attempt), f"{key}/")
    return folders


ACTIONS = {
    "list": _list,
    "status": _status,
    "logs": _logs,
    "stop": _stop,
    "collect": _collect,
    "cost": _cost,
    "cleanup": _cleanup,
}
