"""The sweep's runs in MLflow: created before any job starts, and each ended as its job did."""

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rlvr.manifest import Job, Manifest, Tracking
from rlvr.states import State
from rlvr.sweep.compose import Request, task_config


def create(record: Manifest, requests: Mapping[int, Request]) -> None:
    """Give every job without a run its child, under one parent. `requests` are by job index."""
    node = _tracking(next(iter(requests.values())).config)
    if node is None:
        return
    from rlvr import tracking

    made = tracking.create_sweep(
        node,
        sweep_id=record.sweep_id,
        name=record.name,
        jobs=[_describe(job, requests.get(job.index)) for job in record.jobs],
        resume={
            "parent_run_id": record.tracking.parent_run_id,
            "run_ids": {i: job.run_id for i, job in enumerate(record.jobs)},
        },
    )
    for job, run_id in zip(record.jobs, made.pop("run_ids"), strict=True):
        job.run_id = run_id
    record.tracking = Tracking(**made)


def _tracking(config: DictConfig) -> DictConfig | None:
    node = OmegaConf.select(config, "tracking")
    used = isinstance(node, DictConfig) and node.get("name", "none") != "none"
    return node if used else None


def _describe(job: Job, request: Request | None) -> dict[str, Any]:
    from rlvr import tracking

    params = {} if request is None else tracking.params(task_config(request.config), job.overrides)
    return {"name": job.name, "params": params, "tags": {"config_hash": job.hash}}


def end(record: Manifest, run_id: str | None, state: State) -> None:
    """A run that its own process has ended keeps the status it was given there."""
    from rlvr import tracking

    tracking.end_run(record.tracking.uri, run_id, state)
