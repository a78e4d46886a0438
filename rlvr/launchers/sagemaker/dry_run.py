"""`launcher.dry_run=true`: every request of a sweep as it would be sent, and nothing else."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rlvr.launchers.sagemaker import payload, pricing
from rlvr.launchers.sagemaker.request import RequestBuilder
from rlvr.launchers.sagemaker.service import Service
from rlvr.launchers.sagemaker.storage import Storage
from rlvr.launchers.sagemaker.training_job import Submission
from rlvr.sweep import compose
from rlvr.sweep.controller import Sweep


def print_requests(sweep: Sweep, job_overrides: Sequence[Sequence[str]], first_index: int) -> None:
    """Uploads nothing, creates nothing, and asks AWS nothing but who the caller is."""
    submissions = [Submission.of(job) for job in sweep.compose(job_overrides, first_index)]
    settings, config = submissions[0].settings, submissions[0].config
    service = Service.connect(settings.region)
    bucket = settings.bucket or f"sagemaker-{service.region}-{service.account}"
    storage = Storage(None, bucket, settings.prefix, settings.kms_key, dry=True)
    tracked = payload.reachable((config.get("tracking") or {}).get("uri"))
    builder = RequestBuilder(service, storage, "dry-run", tracked)
    for submission in submissions:
        if (archive := builder.pack(submission)) is not None:
            print(archive.describe())
        _print(builder, sweep, submission)


def _print(builder: RequestBuilder, sweep: Sweep, submission: Submission) -> None:
    job = submission.job
    with tempfile.TemporaryDirectory() as folder:
        compose.place(job, Path(folder))
        job.directory.mkdir(parents=True, exist_ok=True)
        sweep.transport.write(job)
        job.hash = sweep.transport.hash(job)
        training = builder.training_job(submission)
        request = builder.build(submission, training, sweep.command(job)[2], environment={})
    print(f"\n# job {job.label}; at most {pricing.describe(submission.highest_cost)}")
    print(json.dumps(request, indent=2))
