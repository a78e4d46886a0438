"""`rlvr jobs watch` and `collect`: go on with a sweep that nobody watches, from any machine."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from rlvr import manifest
from rlvr.errors import UserError
from rlvr.launchers.sagemaker.payload import reachable
from rlvr.launchers.sagemaker.record import BucketRecord, restored
from rlvr.launchers.sagemaker.regions import Regions
from rlvr.launchers.sagemaker.runner import RecordedRunner
from rlvr.launchers.sagemaker.service import Service
from rlvr.launchers.sagemaker.storage import Storage, bucket_region, split
from rlvr.manifest import Job, Manifest
from rlvr.paths import output_dir
from rlvr.sweep.interrupts import Interrupts
from rlvr.sweep.recorded import RecordedSweep
from rlvr.sweep.terminal import shown
from rlvr.sweep.transport import ResolvedConfig


def locate(target: str, region: str | None) -> Path:
    """The sweep's directory on this machine; made from its bucket for an s3:// URI."""
    if not target.startswith("s3://"):
        return manifest.find(target)
    bucket, prefix, sweep_id = _parts(target)
    anywhere = Service.connect(region)
    service = Service.connect(bucket_region(anywhere, bucket))
    return _fetched(BucketRecord(Storage(service, bucket, prefix), sweep_id))


def _parts(uri: str) -> tuple[str, str, str]:
    """Bucket, prefix and sweep id of a record's URI."""
    bucket, key = split(uri)
    folder = f"/{key.strip('/').removesuffix('/' + manifest.FILE)}"
    prefix, found, sweep_id = folder.rpartition("/sweeps/")
    if not found or not sweep_id or "/" in sweep_id:
        raise UserError(f"{uri}: expected s3://BUCKET/PREFIX/sweeps/ID, as the launcher said it")
    return bucket, prefix, sweep_id


def _fetched(record: BucketRecord) -> Path:
    sweeps = output_dir() / "sweeps"
    for directory, known in manifest.readable(sweeps).items():
        if known.sweep_id == record.sweep_id:
            return directory
    directory = sweeps / record.sweep_id
    record.fetch(directory)
    found = manifest.load(directory)
    if found.tracking.uri and not reachable(found.tracking.uri):  # another machine's file
        print(f"not reported to {found.tracking.uri}, which is not on this machine")
        found.tracking = manifest.Tracking()
        for job in found.jobs:
            job.run_id = None
    found.save(directory)
    print(f"the sweep is now in {shown(directory)} too")
    return directory


def watch(directory: Path, *, once: bool = False, only_collect: bool = False) -> None:
    """Wait for running jobs, collect what has ended, submit what waits, until all is over.

    `once` does so as far as it goes now. `only_collect` submits nothing.
    """
    with manifest.claim(directory), Interrupts() as interrupts:
        record = manifest.load(directory)
        stored = _bucket(directory, record).requests()
        sweep = RecordedSweep(directory, ResolvedConfig(""), record)
        jobs = [job for job in record.jobs if job.is_remote() or not job.state.ended]
        if only_collect:
            jobs = [job for job in jobs if job.is_remote()]
        if not jobs:
            print(f"every job has ended: rlvr compare {directory}")
            return
        runner = _runner(jobs, stored, once=once)
        runner.only_collects = only_collect
        sweep.notify = next((s.settings.notify for s in runner.submissions.values()), None)
        with sweep.terminal.watching(jobs, record.metric):
            # it asks nothing of the sweep but what is recorded
            runner.run(jobs, sweep, interrupts)  # type: ignore[arg-type]
        sweep.finish(record.jobs, interrupts)
    if interrupts:
        raise KeyboardInterrupt


def _bucket(directory: Path, record: Manifest) -> BucketRecord:
    if record.cloud is None or record.metric != ResolvedConfig.metric:
        raise UserError(
            f"{directory} can be gone on with by its own command alone: rlvr resume {directory}"
        )
    bucket, prefix, sweep_id = _parts(record.cloud["uri"])
    storage = Storage(Service.connect(record.cloud["region"]), bucket, prefix)
    return BucketRecord(storage, sweep_id)


def _runner(jobs: list[Job], stored: dict[int, dict[str, Any]], *, once: bool) -> RecordedRunner:
    missing = [job.label for job in jobs if job.index not in stored]
    if missing:
        raise UserError(f"the bucket has no request for {', '.join(missing)}: resume the sweep")
    runner = RecordedRunner()
    runner.submissions = {job.index: restored(job, stored[job.index]) for job in jobs}
    for job in jobs:
        job.directory.mkdir(parents=True, exist_ok=True)
    runner.once = once
    first = next(iter(runner.submissions.values()))
    home = first.ready[0].place.region
    runner.regions = Regions(replace(first.settings, region=home))
    return runner
