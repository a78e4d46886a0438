"""ListTrainingJobs and Search over all jobs that exist."""

import operator
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from .job import Job
from .refusals import invalid

Answer = dict[str, Any]
Found = Sequence[tuple[Job, Answer]]
LONGEST_PAGE = 100


def listed(jobs: Found, request: dict[str, Any]) -> Answer:
    """ListTrainingJobs. Of those that match a time, the service's clock counts."""
    warm, asked = "WarmPoolStatusEquals", request
    found = [
        described
        for job, described in jobs
        if asked.get("NameContains", "").lower() in job.name.lower()
        and asked.get("StatusEquals", job.status) == job.status
        and _in_time(described, asked)
        and (warm not in asked or _warm_pool(described) == asked[warm])
    ]
    by = {"Name": "TrainingJobName", "Status": "TrainingJobStatus"}.get(
        asked.get("SortBy", ""), "CreationTime"
    )
    # the page says that ascending is the default; newest first is what lists are seen to be
    descending = asked.get("SortOrder", "Descending") == "Descending"
    found.sort(key=lambda described: described[by], reverse=descending)
    page, token = _page(found, asked, 10)
    return {"TrainingJobSummaries": [_summary(described) for described in page]} | token


def searched(jobs: Found, request: dict[str, Any]) -> Answer:
    """Search, by filters and nested expressions, newest first where nothing else is asked for."""
    if request["Resource"] != "TrainingJob":
        raise invalid(f"The emulator has no resources of the kind {request['Resource']}.")
    expression = request.get("SearchExpression", {})
    tagged = [described | {"Tags": _tags(job)} for job, described in jobs]
    found = [job for job in tagged if _matches(job, expression)]
    by = request.get("SortBy", "CreationTime")
    descending = request.get("SortOrder", "Descending") == "Descending"
    found.sort(key=lambda job: _order(_value(job, by)), reverse=descending)
    page, token = _page(found, request, LONGEST_PAGE)
    return {"Results": [{"TrainingJob": job} for job in page]} | token


def _in_time(described: Answer, request: dict[str, Any]) -> bool:
    return all(
        request.get(f"{time}After", 0) <= described[time] <= request.get(f"{time}Before", 1e12)
        for time in ("CreationTime", "LastModifiedTime")
    )


def _warm_pool(described: Answer) -> str | None:
    pool: dict[str, str] = described.get("WarmPoolStatus", {})
    return pool.get("Status")


def _summary(described: Answer) -> Answer:
    kept = ["TrainingJobName", "TrainingJobArn", "CreationTime", "TrainingEndTime"]
    kept += ["LastModifiedTime", "TrainingJobStatus", "SecondaryStatus", "WarmPoolStatus"]
    return {key: described[key] for key in kept if key in described}


def _page(found: list[Answer], request: dict[str, Any], size: int) -> tuple[list[Answer], Answer]:
    """`size` is the default; a token is only good for what it was given for."""
    token = str(request.get("NextToken", "0"))
    if not token.isdigit():
        raise invalid("Invalid NextToken.")
    start, size = int(token), int(request.get("MaxResults", size))
    more = start + size < len(found)
    return found[start : start + size], {"NextToken": str(start + size)} if more else {}


def _tags(job: Job) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in job.tags.items()]


def _matches(job: Answer, expression: dict[str, Any]) -> bool:
    kept = [_passes(job, one) for one in expression.get("Filters", [])]
    kept += [_matches(job, one) for one in expression.get("SubExpressions", [])]
    return any(kept) if expression.get("Operator") == "Or" else all(kept)


def _passes(job: Answer, asked: dict[str, Any]) -> bool:
    """One filter. Without an operator a value is to be equal."""
    name, wanted = asked["Name"], asked.get("Value")
    found, kind = _value(job, name), asked.get("Operator", "Equals")
    if kind in ("Exists", "NotExists"):
        if wanted is not None:
            raise invalid(f"Value must not be specified for the operator {kind}.")
        return (found is not None) == (kind == "Exists")
    if wanted is None:
        raise invalid(f"Value must be specified for the operator {kind}.")
    if kind == "NotEquals":
        return found is None or str(found) != wanted
    return found is not None and _COMPARED[kind](found, wanted)


def _compared(how: Callable[[Any, Any], bool]) -> Callable[[Any, str], bool]:
    return lambda found, wanted: how(found, _number(wanted) if _is_number(found) else wanted)


_COMPARED: dict[str, Callable[[Any, str], bool]] = {
    "Equals": lambda found, wanted: str(found) == wanted,
    "Contains": lambda found, wanted: wanted in str(found),
    "In": lambda found, wanted: str(found) in wanted.split(","),
    "GreaterThan": _compared(operator.gt),
    "GreaterThanOrEqualTo": _compared(operator.ge),
    "LessThan": _compared(operator.lt),
    "LessThanOrEqualTo": _compared(operator.le),
}


def _value(job: Answer, name: str) -> Any:
    """What a job has under a name such as TrainingJobName, ResourceConfig.InstanceType, Tags.x."""
    if name.startswith("Tags."):
        tags = {tag["Key"]: tag["Value"] for tag in job["Tags"]}
        return tags.get(name.removeprefix("Tags."))
    found: Any = job
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _number(text: str) -> float:
    """Times are compared as seconds, and asked for as ISO 8601."""
    try:
        return float(text)
    except ValueError:
        return datetime.fromisoformat(text).timestamp()


def _order(value: Any) -> tuple[bool, float, str]:
    return (value is not None, value if _is_number(value) else 0.0, str(value))
