"""What a sweep may cost at most, has cost, and `launcher.max_cost`, which it is kept below."""

from collections.abc import Sequence

from rlvr.errors import UserError
from rlvr.launchers.sagemaker import pricing
from rlvr.launchers.sagemaker.training_job import Submission
from rlvr.manifest import Job


def spent(jobs: Sequence[Job]) -> float:
    """US dollars for all attempts of the jobs: of those that run what they may still come to."""
    return sum(job.spent + _last_attempt(job) for job in jobs)


def _last_attempt(job: Job) -> float:
    remote = job.remote or {}
    return (job.is_remote() and remote.get("most")) or remote.get("cost") or 0.0


def most(submissions: Sequence[Submission]) -> float | None:
    """US dollars if every job runs to its time limit; None where a price is not known."""
    costs = [submission.highest_cost for submission in submissions]
    return None if None in costs else sum(filter(None, costs))


def refuse(submissions: Sequence[Submission], already: float) -> None:
    """UserError where the jobs may cost more than `launcher.max_cost` leaves after `already`."""
    limit = submissions[0].settings.max_cost if submissions else None
    if limit is None:
        return
    unpriced = sorted({s.instance_type for s in submissions if s.highest_cost is None})
    if unpriced:
        raise UserError(
            f"launcher.max_cost={limit:g}: the price of {', '.join(unpriced)} (or its fallbacks) "
            "is not known; ask AWS with `rlvr jobs prices --refresh`, or set launcher.prices=FILE"
        )
    total = already + (most(submissions) or 0.0)
    if total > limit:
        raise UserError(
            f"the sweep may cost {pricing.describe(total)}, more than launcher.max_cost={limit:g}: "
            "raise it, or lower launcher.max_runtime, the number of jobs, or the instance type"
        )


def allows(submission: Submission, already: float) -> bool:
    limit = submission.settings.max_cost
    return limit is None or already + (submission.highest_cost or 0.0) <= limit
