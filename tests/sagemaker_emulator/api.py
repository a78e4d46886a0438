"""The SageMaker operations on training jobs of one region, answered from the emulator's own."""

import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlparse

from .job import Job, Machine
from .managed_mlflow import ManagedMlflow
from .queries import listed, searched
from .refusals import ApiError, invalid
from .store import Store
from .validation import MOST_TAGS, refusals

Answer = dict[str, Any]


class TrainingApi:
    """One account and region. `answer(operation, request)` is the whole interface.

    `created` are all jobs there have ever been, `jobs` those that were not deleted.
    """

    def __init__(
        self, machine: Machine, model: Any, make: Callable[[dict[str, Any], Machine], Job]
    ) -> None:
        self.machine, self.model, self._make = machine, model, make
        self.jobs: dict[str, Job] = {}
        self.created: list[Job] = []
        self.mlflow = ManagedMlflow(machine.region)
        self._lock = threading.Lock()
        self.operations: dict[str, Callable[[dict[str, Any]], Answer]] = {
            "CreateTrainingJob": self._create,
            "DescribeTrainingJob": lambda r: self._describe(self._job(r)),
            "StopTrainingJob": self._stop,
            "DeleteTrainingJob": self._delete,
            "UpdateTrainingJob": self._update,
            "ListTrainingJobs": lambda r: listed(self._existing(), r),
            "ListTags": self._list_tags,
            "AddTags": self._add_tags,
            "Search": lambda r: searched(self._existing(), r),
            **self.mlflow.operations,
        }

    def answer(self, operation: str, request: dict[str, Any]) -> Answer:
        """The response of a supported operation; ApiError for an error response."""
        faults = self.machine.faults
        unheard = operation == "StopTrainingJob" and faults.take("deaf_stops")
        if unheard or faults.throttled(operation):
            raise ApiError("ThrottlingException", "Rate exceeded")
        if problems := refusals(operation, request, self.model):
            count = f"{len(problems)} validation error{'s' * (len(problems) > 1)} detected"
            raise invalid(f"{count}: {'; '.join(problems)}")
        return self.operations[operation](request)

    def forget(self) -> None:
        self.jobs.clear()
        self.created.clear()

    def _create(self, request: dict[str, Any]) -> Answer:
        with self._lock:
            name = request["TrainingJobName"]
            if name in self.jobs:
                raise ApiError(
                    "ResourceInUse", f"Training job names must be unique. {name} already exists."
                )
            self._check_buckets(request)
            self._check_quota(request)
            job = self.jobs[name] = self._make(request, self.machine)
            self.created.append(job)
        return {"TrainingJobArn": job.arn}

    def _check_buckets(self, request: dict[str, Any]) -> None:
        uris = [
            c["DataSource"]["S3DataSource"]["S3Uri"] for c in request.get("InputDataConfig", [])
        ]
        uris.append(request["OutputDataConfig"]["S3OutputPath"])
        if "CheckpointConfig" in request:
            uris.append(request["CheckpointConfig"]["S3Uri"])
        for bucket in dict.fromkeys(urlparse(uri).netloc for uri in uris):
            region = Store().region(bucket)
            if region not in (None, self.machine.region):
                raise invalid(
                    f"The S3 bucket {bucket} is in a different region ({region}) than the training "
                    f"job ({self.machine.region}). Please ensure that the bucket exists in the "
                    f"selected region ({self.machine.region})."
                )

    def _check_quota(self, request: dict[str, Any]) -> None:
        faults, resources = self.machine.faults, request["ResourceConfig"]
        kind, wanted = resources["InstanceType"], int(resources.get("InstanceCount", 1))
        spot = bool(request.get("EnableManagedSpotTraining"))
        of_kind = [job for job in self.created if job.instance_type == kind]
        own = faults.quotas.get((self.machine.region, kind, spot))
        if own is not None:
            used = [job for job in of_kind if job.live and job.spot == spot]
            _refuse_above(own, f"{kind} for {'spot ' * spot}training job usage", used, wanted)
        if kind in faults.quotas:
            used = [job for job in of_kind if job.live]
            _refuse_above(faults.quotas[kind], f"{kind} for training job usage", used, wanted)
        if kind in faults.warm_quotas and resources.get("KeepAlivePeriodInSeconds"):
            used = [job for job in of_kind if job.keep_alive and (job.live or job.warm)]
            limit = faults.warm_quotas[kind]
            _refuse_above(limit, f"{kind} for training warm pool usage", used, wanted)

    def _stop(self, request: dict[str, Any]) -> Answer:
        job = self._job(request)
        ignored = job.live and self.machine.faults.take("ignored_stops")
        if not ignored and not job.stop():
            raise invalid(
                f"The request was rejected because the training job is in status {job.status}."
            )
        return {}

    def _delete(self, request: dict[str, Any]) -> Answer:
        job = self._job(request)
        if job.live:
            raise ApiError("ResourceInUse", f"{job.name} is in status {job.status}.")
        if job.warm:
            raise ApiError("ResourceInUse", f"{job.name} retains an Available warm pool.")
        del self.jobs[job.name]
        return {}

    def _update(self, request: dict[str, Any]) -> Answer:
        job = self._job(request)
        job.keep_warm(request.get("ResourceConfig", {}).get("KeepAlivePeriodInSeconds", 0))
        return {"TrainingJobArn": job.arn}

    def _existing(self) -> list[tuple[Job, Answer]]:
        """All jobs that were not deleted, with their descriptions."""
        return [(job, self._describe(job)) for job in list(self.jobs.values())]

    def _job(self, request: dict[str, Any]) -> Job:
        name = request.get("TrainingJobName", "")
        if name not in self.jobs:
            raise invalid("Requested resource not found.")
        return self.jobs[name]

    def _describe(self, job: Job) -> Answer:
        return described(job, self.machine.faults.clock_skew)

    def _by_arn(self, arn: str) -> Job:
        return self._job({"TrainingJobName": arn.rsplit("/", 1)[-1]})

    def _list_tags(self, request: dict[str, Any]) -> Answer:
        return {"Tags": tag_list(self._by_arn(request["ResourceArn"]))}

    def _add_tags(self, request: dict[str, Any]) -> Answer:
        job = self._by_arn(request["ResourceArn"])
        tags = job.tags | {tag["Key"]: tag["Value"] for tag in request["Tags"]}
        if len(tags) > MOST_TAGS:
            raise invalid(f"A resource can have at most {MOST_TAGS} tags.")
        job.tags = tags
        return {"Tags": tag_list(job)}


def _refuse_above(quota: int, name: str, used: list[Job], wanted: int) -> None:
    """AWS's own words, which users and launchers read."""
    utilization = sum(job.instances for job in used)
    if utilization + wanted > quota:
        raise ApiError(
            "ResourceLimitExceeded",
            f"The account-level service limit '{name}' is {quota} Instances, with current "
            f"utilization of {utilization} Instances and a request delta of {wanted} Instances. "
            "Please use AWS Service Quotas to request an increase for this quota.",
        )


def tag_list(job: Job) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in job.tags.items()]


def described(job: Job, skew: float) -> Answer:
    """DescribeTrainingJob's answer; `skew` seconds are added to all times."""
    out = {key: value for key, value in job.request.items() if key != "Tags"} | {
        "TrainingJobArn": job.arn,
        "TrainingJobStatus": job.status,
        "SecondaryStatus": job.secondary,
        "SecondaryStatusTransitions": [_skewed(moved, skew) for moved in job.transitions],
        "CreationTime": job.created + skew,
        "LastModifiedTime": job.modified + skew,
    }
    if job.failure_reason:
        out["FailureReason"] = job.failure_reason
    if job.started:
        out["TrainingStartTime"] = job.started + skew
    if not job.live and job.ended:
        out["TrainingEndTime"] = job.ended + skew
        out["TrainingTimeInSeconds"] = round(job.training_seconds)
        out["BillableTimeInSeconds"] = job.billable_seconds
        if "KeepAlivePeriodInSeconds" in job.request["ResourceConfig"]:
            out["WarmPoolStatus"] = {
                "Status": "Available" if job.warm else "Terminated",
                "ResourceRetainedBillableTimeInSeconds": round(job.idle_seconds),
            }
    if job.model_uri:
        out["ModelArtifacts"] = {"S3ModelArtifacts": job.model_uri}
    return out


def _skewed(moved: Answer, skew: float) -> Answer:
    times = {key: moved[key] + skew for key in ("StartTime", "EndTime") if key in moved}
    return moved | times
