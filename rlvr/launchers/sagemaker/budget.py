"""What a sweep may cost at most, has cost, and `launcher.max_cost`, which it is kept below."""

from collections.abc import Callable, Sequence

from rlvr.errors import UserError
from rlvr.launchers.sagemaker import pricing
from rlvr.launchers.sagemaker.training_job import Submission
from rlvr.manifest import Job
from rlvr.result import Result


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


def refuse_unpriced(submissions: Sequence[Submission]) -> None:
    """UserError where `launcher.max_cost` cannot be kept, because a price is not known."""
    limit = submissions[0].settings.max_cost
    if limit is not None and (unpriced := _unpriced(submissions)):
        raise UserError(f"launcher.max_cost={limit:g}: {unpriced}")


def refuse(submissions: Sequence[Submission], already: float) -> None:
    """UserError where the jobs may cost more than `launcher.max_cost` leaves after `already`."""
    refuse_unpriced(submissions)
    limit = submissions[0].settings.max_cost
    if limit is None:
        return
    total = already + (most(submissions) or 0.0)
    if total > limit:
        raise UserError(
            f"the sweep may cost {pricing.describe(total)}, more than launcher.max_cost={limit:g}: "
            "raise it, or lower launcher.max_runtime, the number of jobs, or the instance type"
        )


def _unpriced(submissions: Sequence[Submission]) -> str:
    """Which prices are not known, and how to know them; nothing where all are."""
    places = {
        f"{place.instance_type} in {place.region or 'an unknown region'}"
        for submission in submissions
        for place in submission.places
        if submission.hourly(place) is None
    }
    if not places:
        return ""
    return (
        f"the price of {', '.join(sorted(places))} is not known; ask AWS with "
        "`rlvr jobs prices --refresh --region REGION`, or set launcher.prices=FILE"
    )


def announce(submissions: Sequence[Submission], already: float) -> str:
    """What the jobs may cost at most, and by which prices."""
    types = ", ".join(sorted({place.instance_type for s in submissions for place in s.places[:1]}))
    before = f", after {pricing.describe(already)} so far" if already else ""
    if unpriced := _unpriced(submissions):
        return f"{len(submissions)} jobs on {types}{before}; {unpriced}"
    tables = [
        pricing.prices(place.region, s.settings.prices) for s in submissions for place in s.places
    ]
    sources = ", ".join(sorted({table.source() for table in tables if table}))
    return (
        f"{len(submissions)} jobs on {types}; at most {pricing.describe(most(submissions))}"
        f"{before}, if all run to max_runtime ({sources}; S3, logs and network not counted)"
    )


def summary(jobs: Sequence[Job], result_of: Callable[[Job], Result | None]) -> str:
    """What all attempts of the jobs have cost, and what each point of accuracy did."""
    unpriced = sum(job.state.ended and (job.remote or {}).get("cost", 0) is None for job in jobs)
    most = "at most " if any(job.is_remote() for job in jobs) else ""
    unknown = f", without {unpriced} whose price is not known" if unpriced else ""
    total = f"{most}{pricing.describe(spent(jobs))}"
    lines = [f"cost: {total} for all attempts of {len(jobs)} jobs{unknown}"]
    for job in jobs:
        points, cost = _points(result_of(job)), spent([job])
        if points is not None and points > 0 and cost:
            price = pricing.describe(cost / points)
            lines.append(f"  {job.label}: {pricing.describe(cost)}, {price} a point gained")
    return "\n".join(lines)


def _points(result: Result | None) -> float | None:
    if result is None or not result.base or not result.trained:
        return None
    return 100.0 * (result.trained["accuracy"] - result.base["accuracy"])


def allows(submission: Submission, already: float) -> bool:
    limit, highest = submission.settings.max_cost, submission.highest_cost
    return limit is None or (highest is not None and already + highest <= limit)
