"""How long a sweep still takes, from what its jobs say and from how long others took."""

import heapq
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rlvr import progress
from rlvr.manifest import Job
from rlvr.states import State


def read_progress(directory: Path) -> dict[str, Any]:
    """A job's `progress.json`; empty before its first report."""
    try:
        found = json.loads((directory / progress.FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def left_of(state: dict[str, Any]) -> float | None:
    """Seconds by a job's own estimate; None where it has none, or where that has passed."""
    ends_at = state.get("ends_at")
    left = ends_at - time.time() if isinstance(ends_at, int | float) else 0.0
    return left if left > 0 else None


def elapsed(job: Job) -> float:
    started = datetime.fromisoformat(job.started) if job.started else datetime.now(UTC)
    ended = datetime.fromisoformat(job.ended) if job.ended else datetime.now(UTC)
    return max(0.0, (ended - started).total_seconds())


def seconds_left(jobs: Sequence[Job]) -> float | None:
    """Of all jobs, as many at a time as run now; None as long as nothing was measured."""
    running = [job for job in jobs if job.state is State.running]
    told = {job.index: left_of(read_progress(job.directory)) for job in running}
    whole = [elapsed(job) for job in jobs if job.state is State.finished]
    whole += [elapsed(job) + left for job in running if (left := told[job.index]) is not None]
    if not running or not whole:
        return None
    typical = sum(whole) / len(whole)
    ends = [
        max(0.0, typical - elapsed(job)) if (left := told[job.index]) is None else left
        for job in running
    ]
    heapq.heapify(ends)
    for _ in range(sum(job.state is State.pending for job in jobs)):
        heapq.heappush(ends, heapq.heappop(ends) + typical)
    return max(ends) or None
