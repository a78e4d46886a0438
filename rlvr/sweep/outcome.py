"""How a job ended, as its `result.json` says."""

import signal
from dataclasses import dataclass
from pathlib import Path

from rlvr import result
from rlvr.errors import UserError
from rlvr.manifest import Job, State
from rlvr.processes import describe_exit

ENDED_FROM_OUTSIDE = (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT)


@dataclass(frozen=True)
class Outcome:
    state: State
    value: float | None = None
    error: str | None = None
    traceback: str | None = None


def read_result(directory: Path) -> Outcome | None:
    """None when the run left no result."""
    try:
        found = result.read(directory)
    except UserError as error:
        return Outcome(State.failed, error=str(error))
    if found is None:
        return None
    return Outcome(State(found.status), found.metric, found.error, found.traceback)


def from_exit(job: Job, code: int) -> Outcome:
    """For a job whose process is gone and left no result. `code` as subprocess gives it."""
    state = State.killed if code in ENDED_FROM_OUTSIDE else State.failed
    return Outcome(state, error=f"job #{job.index} {describe_exit(code)}")
