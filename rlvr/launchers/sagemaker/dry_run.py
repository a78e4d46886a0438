"""`launcher.dry_run=true`: every request of a sweep as it would be sent, and nothing else."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from rlvr.launchers.sagemaker import payload, pricing
from rlvr.launchers.sagemaker.service import Service
from rlvr.launchers.sagemaker.settings import Settings
from rlvr.launchers.sagemaker.storage import Storage
from rlvr.launchers.sagemaker.submission import Submission
from rlvr.sweep import compose
from rlvr.sweep.compose import Request
from rlvr.sweep.controller import Sweep

SWEEP = "dry-run"


def print_requests(sweep: Sweep, job_overrides: Sequence[Sequence[str]], first_index: int) -> None:
    """Uploads nothing, creates nothing, and asks AWS nothing but who the caller is."""
    requests = compose.compose(sweep.loader, sweep.master, job_overrides)
    compose.check_one_launcher(sweep.master, requests)
    sweep._validate(requests, first_index)
    settings = [_settings(request) for request in requests]
    service = Service.connect(settings[0].region)
    bucket = settings[0].bucket or f"sagemaker-{service.region}-{service.account}"
    storage = Storage(None, bucket, settings[0].prefix, settings[0].kms_key, dry=True)
    submission = Submission(service, storage, SWEEP)
    for position, (request, chosen) in enumerate(zip(requests, settings, strict=True)):
        packed = submission.pack(chosen, tracked=False, deepspeed=False)
        if packed is not None:
            print(packed.describe())
        _print(submission, sweep, request, chosen, first_index + position)


def _settings(request: Request) -> Settings:
    node = OmegaConf.select(request.config, "launcher")
    return Settings.read(compose.plain(node) if node is not None else {})


def _print(
    submission: Submission, sweep: Sweep, request: Request, settings: Settings, index: int
) -> None:
    config = compose.resolved(request.config)
    with tempfile.TemporaryDirectory() as folder:
        request.place(Path(folder), index)
        sweep.transport.write(request, Path(folder))
        tracked = payload.reachable((config.get("tracking") or {}).get("uri"))
        made = payload.make(Path(folder), "rlvr.worker", tracked=tracked)
        digest = sweep.transport.hash(request, Path(folder))
    remote = submission.remote(index, digest, settings, config)
    body = submission.request(
        remote, settings, made, index=index, overrides=request.overrides, environment={}
    )
    seconds = settings.max_runtime
    most = pricing.cost(remote.instance_type, remote.instance_count, seconds, settings.prices)
    print(f"\n# job {index}: {request.name}; at most {pricing.describe(most)}")
    print(json.dumps(body, indent=2))
