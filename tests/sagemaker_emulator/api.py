"""The SageMaker operations on training jobs, answered from the emulator's own jobs."""

import threading
import time
from collections.abc import Callable
from typing import Any

from .job import ACCOUNT, Job, Machine
from .validation import refusals


class ApiError(Exception):
    """An error response of the service."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind, self.message = kind, message


class TrainingApi:
    """One account and region. `answer(operation, request)` is the whole interface."""

    def __init__(self, machine: Machine, model: Any) -> None:
        self.machine, self.model = machine, model
        self.jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self.operations: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "CreateTrainingJob": self._create,
            "DescribeTrainingJob": lambda r: self._describe(self._job(r)),
            "StopTrainingJob": self._stop,
            "DeleteTrainingJob": self._delete,
            "UpdateTrainingJob": self._update,
            "ListTrainingJobs": self._list,
            "ListTags": self._list_tags,
            "AddTags": self._add_tags,
            "Search": self._search,
        }

    def answer(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        """The response of a supported operation; ApiError for an error response."""
        unheard = operation == "StopTrainingJob" and self.machine.faults.stop_unheard()
        if unheard or self.machine.faults.throttled(operation):
            raise ApiError("ThrottlingException", "Rate exceeded")
        problems = refusals(operation, request, self.model)
        if problems:
            count = f"{len(problems)} validation error{'s' * (len(problems) > 1)} detected"
            raise ApiError("ValidationException", f"{count}: {'; '.join(problems)}")
        return self.operations[operation](request)

    def _create(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            name = request["TrainingJobName"]
            if name in self.jobs:
                raise ApiError(
                    "ResourceInUse", f"Training job names must be unique. {name} already exists."
                )
            self._check_quota(request["ResourceConfig"])
            job = self.jobs[name] = Job(request, self.machine)
        return {"TrainingJobArn": job.arn}

    def _check_quota(self, resources: dict[str, Any]) -> None:
        kind, wanted = resources["InstanceType"], int(resources.get("InstanceCount", 1))
        quota = self.machine.faults.quotas.get(kind)
        used = sum(j.instances for j in self.jobs.values() if j.live and j.instance_type == kind)
        if quota is not None and used + wanted > quota:
            raise ApiError(
                "ResourceLimitExceeded",
                f"The account-level service limit '{kind} for training job usage' is {quota} "
                f"Instances, with current utilization of {used} Instances and a request delta of "
                f"{wanted} Instances. Please use AWS Service Quotas to request an increase for "
                "this quota.",
            )

    def _stop(self, request: dict[str, Any]) -> dict[str, Any]:
        job = self._job(request)
        if not job.live:
            raise ApiError(
                "ValidationException",
                f"The request was rejected because the training job is in status {job.status}.",
            )
        job.stop()
        return {}

    def _delete(self, request: dict[str, Any]) -> dict[str, Any]:
        job = self._job(request)
        if job.live:
            raise ApiError("ResourceInUse", f"{job.name} is in status {job.status}.")
        del self.jobs[job.name]
        return {}

    def _update(self, request: dict[str, Any]) -> dict[str, Any]:
        job = self._job(request)
        job.released = time.time()
        job.keep_alive = request.get("ResourceConfig", {}).get("KeepAlivePeriodInSeconds", 0)
        return {"TrainingJobArn": job.arn}

    def _job(self, request: dict[str, Any]) -> Job:
        name = request.get("TrainingJobName", "")
        if name not in self.jobs:
            raise ApiError("ValidationException", "Requested resource not found.")
        return self.jobs[name]

    def _describe(self, job: Job) -> dict[str, Any]:
        skew = self.machine.faults.clock_skew
        kept = {k: v for k, v in job.request.items() if k != "Tags"}
        out = kept | {
            "TrainingJobArn": job.arn,
            "TrainingJobStatus": job.status,
            "SecondaryStatus": job.secondary,
            "SecondaryStatusTransitions": list(job.transitions),
            "CreationTime": job.created + skew,
            "LastModifiedTime": job.modified + skew,
        }
        if job.failure_reason:
            out["FailureReason"] = job.failure_reason
        if job.started:
            out["TrainingStartTime"] = job.started + skew
        if job.ended:
            seconds = max(1, round(job.training_seconds))
            out["TrainingEndTime"] = job.ended + skew
            out["TrainingTimeInSeconds"] = seconds
            share = 1 - self.machine.spot_discount if job.spot else 1
            out["BillableTimeInSeconds"] = max(1, round(seconds * share))
            if "KeepAlivePeriodInSeconds" in job.request["ResourceConfig"]:
                out["WarmPoolStatus"] = {
                    "Status": "Available" if job.warm else "Terminated",
                    "ResourceRetainedBillableTimeInSeconds": round(job.idle_seconds),
                }
        if job.model_uri:
            out["ModelArtifacts"] = {"S3ModelArtifacts": job.model_uri}
        return out

    def _list(self, request: dict[str, Any]) -> dict[str, Any]:
        jobs = [
            job
            for job in self.jobs.values()
            if request.get("NameContains", "") in job.name
            and request.get("StatusEquals", job.status) == job.status
            and request.get("CreationTimeAfter", 0) <= job.created
            and job.created <= request.get("CreationTimeBefore", time.time() + 1)
        ]
        jobs.sort(
            key=lambda job: job.name if request.get("SortBy") == "Name" else job.created,
            reverse=request.get("SortOrder", "Descending") == "Descending",
        )
        page, token = _page(jobs, request, 10)
        return {"TrainingJobSummaries": [_summary(job) for job in page]} | token

    def _search(self, request: dict[str, Any]) -> dict[str, Any]:
        filters = request.get("SearchExpression", {}).get("Filters", [])
        found = [j for j in self.jobs.values() if all(_tagged(j, f) for f in filters)]
        page, token = _page(found, request, 100)
        results = [{"TrainingJob": self._describe(job) | {"Tags": _tag_list(job)}} for job in page]
        return {"Results": results} | token

    def _by_arn(self, arn: str) -> Job:
        return self._job({"TrainingJobName": arn.rsplit("/", 1)[-1]})

    def _list_tags(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"Tags": _tag_list(self._by_arn(request["ResourceArn"]))}

    def _add_tags(self, request: dict[str, Any]) -> dict[str, Any]:
        job = self._by_arn(request["ResourceArn"])
        job.tags |= {tag["Key"]: tag["Value"] for tag in request["Tags"]}
        return {"Tags": _tag_list(job)}


def _tagged(job: Job, expression: dict[str, Any]) -> bool:
    key = expression["Name"].removeprefix("Tags.")
    if expression.get("Operator") == "Exists":
        return key in job.tags
    return job.tags.get(key) == expression.get("Value")


def _tag_list(job: Job) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in job.tags.items()]


def _summary(job: Job) -> dict[str, Any]:
    return {
        "TrainingJobName": job.name,
        "TrainingJobArn": job.arn,
        "CreationTime": job.created,
        "LastModifiedTime": job.modified,
        "TrainingJobStatus": job.status,
        "SecondaryStatus": job.secondary,
    }


def _page(
    jobs: list[Job], request: dict[str, Any], default: int
) -> tuple[list[Job], dict[str, str]]:
    start, size = int(request.get("NextToken", 0)), int(request.get("MaxResults", default))
    more = start + size < len(jobs)
    return jobs[start : start + size], {"NextToken": str(start + size)} if more else {}


def allow_all(actions: list[str]) -> str:
    """The XML answer of iam:SimulatePrincipalPolicy, which moto lacks: everything is allowed."""
    members = "".join(
        f"<member><EvalActionName>{action}</EvalActionName>"
        "<EvalDecision>allowed</EvalDecision></member>"
        for action in actions
    )
    return (
        '<SimulatePrincipalPolicyResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/">'
        f"<SimulatePrincipalPolicyResult><EvaluationResults>{members}</EvaluationResults>"
        "<IsTruncated>false</IsTruncated></SimulatePrincipalPolicyResult>"
        "<ResponseMetadata><RequestId>emulated</RequestId></ResponseMetadata>"
        "</SimulatePrincipalPolicyResponse>"
    )


__all__ = ["ACCOUNT", "ApiError", "TrainingApi", "allow_all"]
