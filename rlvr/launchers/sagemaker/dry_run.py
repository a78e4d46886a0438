"""`launcher.dry_run=true`: every request of a sweep as it would be sent, and nothing else."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rlvr.launchers.sagemaker import payload, pricing
from rlvr.launchers.sagemaker.service import Service
from rlvr.launchers.sagemaker.settings import Settings
from rlvr.launchers.sagemaker.storage import Storage
from rlvr.launchers.sagemaker.submission import Submission
from rlvr.manifest import Job
from rlvr.sweep import compose
from rlvr.sweep.controller import Sweep

SWEEP = "dry-run"


def print_requests(sweep: Sweep, job_overrides: Sequence[Sequence[str]], first_index: int) -> None:
    """Uploads nothing, creates nothing, and asks AWS nothing but who the caller is."""
    jobs = sweep.compose(job_overrides, first_index)
    settings = [Settings.read(sweep.settings(job)) for job in jobs]
    service = Service.connect(settings[0].region)
    bucket = settings[0].bucket or f"sagemaker-{service.region}-{service.account}"
    storage = Storage(None, bucket, settings[0].prefix, settings[0].kms_key, dry=True)
    submission = Submission(service, storage, SWEEP)
    for job, chosen in zip(jobs, settings, strict=True):
        packed = submission.pack(chosen, tracked=False, deepspeed=False)
        if packed is not None:
            print(packed.describe())
        _print(submission, sweep, job, chosen)


def _print(submission: Submission, sweep: Sweep, job: Job, settings: Settings) -> None:
    config = compose.resolved(job.config)
    with tempfile.TemporaryDirectory() as folder:
        compose.place(job, Path(folder))
        job.directory.mkdir(parents=True, exist_ok=True)
        sweep.transport.write(job)
        tracked = payload.reachable((config.get("tracking") or {}).get("uri"))
        made = payload.make(job.directory, "rlvr.worker", tracked=tracked)
        job.hash = sweep.transport.hash(job)
    remote = submission.remote(job.index, job.hash, settings, config)
    body = submission.request(
        remote, settings, made, index=job.index, overrides=job.overrides, environment={}
    )
    seconds = settings.max_runtime
    most = pricing.cost(remote.instance_type, remote.instance_count, seconds, settings.prices)
    print(f"\n# job {job.index}: {job.name}; at most {pricing.describe(most)}")
    print(json.dumps(body, indent=2))
