"""Which jobs of an earlier sweep still stand, and which run again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from rlvr.dotted_keys import is_of_the_run, override_key
from rlvr.errors import UserError
from rlvr.manifest import Job, Manifest
from rlvr.result import Result
from rlvr.states import State
from rlvr.sweep.compose import Request

Key = TypeVar("Key")


@dataclass
class Plan:
    """`jobs` are in the order of the request; each is also in one of the lists below it."""

    jobs: list[Job] = field(default_factory=list)
    kept: list[Job] = field(default_factory=list)
    attached: list[Job] = field(default_factory=list)
    again: list[tuple[Job, State]] = field(default_factory=list)
    changed: list[Job] = field(default_factory=list)
    new: list[Job] = field(default_factory=list)
    others: list[Job] = field(default_factory=list)
    ended_runs: dict[str, State] = field(default_factory=dict)  # MLflow runs nobody ended

    def describe(self) -> str:
        again = [f"{_label(job)} ({state})" for job, state in self.again]
        parts = {
            "kept": [_label(job) for job in self.kept],
            "still running, waited for": [_label(job) for job in self.attached],
            "run again": again,
            "run anew, their configuration has changed": [_label(job) for job in self.changed],
            "new": [_label(job) for job in self.new],
            "not in this request, left as they are": [_label(job) for job in self.others],
        }
        return "\n".join(f"  {what}: {'; '.join(jobs)}" for what, jobs in parts.items() if jobs)


def _label(job: Job) -> str:
    return f"#{job.index} {job.name}"


@dataclass
class Earlier:
    """An earlier sweep's jobs that no request has taken yet."""

    jobs: list[Job]
    result: Callable[[Job], Result | None]
    attachable: Callable[[Job], bool]

    def take(self, test: Callable[[Job], bool]) -> Job | None:
        found = sorted(filter(test, self.jobs), key=lambda job: job.state is not State.finished)
        if found:
            self.jobs.remove(found[0])
        return found[0] if found else None


def match(
    record: Manifest,
    earlier: Earlier,
    requests: Sequence[Request],
    hashes: Sequence[str],
    first_index: int,
) -> Plan:
    """Give every request its job: an earlier one of the same hash, or of the same overrides."""
    same = [earlier.take(lambda job, h=h: job.hash == h) for h in hashes]  # type: ignore[misc]
    plan = Plan()
    for position, (request, digest) in enumerate(zip(requests, hashes, strict=True)):
        job = same[position]
        if job is not None:
            _resume(job, earlier, plan)
        else:
            wanted = _identity(request.overrides)
            job = earlier.take(lambda job, w=wanted: _identity(job.overrides) == w)  # type: ignore[misc]
            if job is not None:
                _renew(job, digest, earlier, plan)
            else:
                index = max(record.next_index(), first_index + position)
                job = Job(index, request.name, digest, request.overrides, dir="")
                record.jobs.append(job)
                plan.new.append(job)
        plan.jobs.append(job)
    plan.others = list(earlier.jobs)
    return plan


def _identity(overrides: Sequence[str]) -> list[str]:
    return sorted(o for o in overrides if is_of_the_run(override_key(o)))


def _resume(job: Job, earlier: Earlier, plan: Plan) -> None:
    state = _state(job, earlier)
    result = earlier.result(job)
    if state is State.running:
        plan.attached.append(job)
    elif result is not None and result.status is State.finished:
        _close(job, State.finished, plan)
        job.value, job.error = result.metric, None
        plan.kept.append(job)
    else:
        shown = State.lost if state is State.finished else state
        _close(job, state, plan)
        job.state, job.remote, job.value, job.error = State.pending, None, None, None
        plan.again.append((job, shown))


def _renew(job: Job, digest: str, earlier: Earlier, plan: Plan) -> None:
    """The request has the overrides of an earlier job whose configuration was another one."""
    if _state(job, earlier) is State.running:
        raise UserError(f"{_label(job)} still runs, with another configuration: stop it first")
    _close(job, job.true_state(), plan)
    job.hash, job.run_id, job.state, job.remote = digest, None, State.pending, None
    job.value = job.error = job.started = job.ended = None
    plan.changed.append(job)


def _state(job: Job, earlier: Earlier) -> State:
    """`running` only where the job can be waited for; raises UserError where it must be stopped."""
    state = job.true_state()
    if job.is_remote():
        return State.running if earlier.attachable(job) else State.lost
    if state is State.running:
        raise UserError(
            f"{_label(job)} still runs as process {job.pid}: wait for it, or stop it with "
            f"`kill {job.pid}`, then resume"
        )
    return state


def _close(job: Job, state: State, plan: Plan) -> None:
    """The record, and what MLflow is to be told of a run that its own process never ended."""
    if job.state is State.running and job.run_id is not None:
        plan.ended_runs[job.run_id] = state if state is State.finished else State.killed
    job.state, job.pid, job.pid_started = state, None, None


def set_aside(directory: Path) -> None:
    """Keep the results of a configuration that has changed: `2` becomes `2.old-1`."""
    if not directory.exists():
        return
    number = 1
    while (target := directory.with_name(f"{directory.name}.old-{number}")).exists():
        number += 1
    directory.rename(target)
