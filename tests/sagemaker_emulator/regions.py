"""One region of the account: its own jobs, logs and managed MLflow."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from . import wire
from .api import TrainingApi
from .faults import Faults
from .job import Job, Machine
from .logs import GROUP, LogShipper
from .managed_mlflow import ManagedMlflow
from .refusals import ApiError
from .store import ACCOUNT


@dataclass
class Region:
    """`api.machine` may be replaced: it is how jobs run that are created from then on."""

    name: str
    api: TrainingApi
    logs: LogShipper
    log_client: Any  # boto3's, whose calls are the emulator's own

    @classmethod
    def of(
        cls,
        machine: Machine,
        log_client: Any,
        make: Callable[[dict[str, Any], Machine], Job],
    ) -> "Region":
        return cls(machine.region, TrainingApi(machine, _model(), make), machine.logs, log_client)

    @property
    def jobs(self) -> dict[str, Job]:
        """A snapshot: the server's threads add jobs at any time."""
        return dict(self.api.jobs)

    @property
    def mlflow(self) -> ManagedMlflow:
        return self.api.mlflow

    def logged(self, job: str) -> list[list[str]]:
        """Lines of each of the job's CloudWatch streams, oldest stream first."""
        logs = self.log_client
        if not logs.describe_log_groups(logGroupNamePrefix=GROUP)["logGroups"]:
            return []
        found = logs.describe_log_streams(logGroupName=GROUP, logStreamNamePrefix=f"{job}/")
        names = sorted(stream["logStreamName"] for stream in found["logStreams"])
        return [
            [
                event["message"]
                for event in logs.get_log_events(
                    logGroupName=GROUP, logStreamName=name, startFromHead=True
                )["events"]
            ]
            for name in names
        ]

    def answer(
        self, name: str, request: dict[str, Any], respond: wire.StartResponse
    ) -> Iterable[bytes]:
        """To a call of the SageMaker API; its answer may be lost."""
        faults = self.api.machine.faults
        counter = {"CreateTrainingJob": "lost_answers", "StopTrainingJob": "lost_stops"}.get(name)
        try:
            status, answer = "200 OK", self.api.answer(name, request)
        except ApiError as error:
            status, answer = "400 Bad Request", {"__type": error.kind, "message": error.message}
        if counter and faults.take(counter):
            return wire.lost(respond)
        return wire.answer_json(respond, status, answer)

    def log_events(
        self, environ: wire.Environ, respond: wire.StartResponse
    ) -> Iterable[bytes] | None:
        """To GetLogEvents, where something is wrong with CloudWatch; None where nothing is.

        Empty pages come with tokens of their own before every page, as CloudWatch may give them.
        """
        faults: Faults = self.api.machine.faults
        request = wire.json_body(environ)
        if request.get("nextToken") and faults.take("throttled_pages"):
            return wire.throttled(respond)
        if not faults.empty_pages:
            return None
        real, _, number = request.pop("nextToken", "").partition("#")
        if int(number or 0) < faults.empty_pages:
            token = f"{real}#{int(number or 0) + 1}"
            page = {"events": [], "nextForwardToken": token, "nextBackwardToken": "b"}
            return wire.answer_json(respond, "200 OK", page)
        more = {"nextToken": real} if real else {}
        page = self.log_client.get_log_events(**request, **more)
        page.pop("ResponseMetadata")
        if page["nextForwardToken"] == real:  # the end, where the same token is given again
            page["nextForwardToken"] = f"{real}#{number}"
        return wire.answer_json(respond, "200 OK", page)


def log_backend(region: str) -> Any:
    """moto's CloudWatch Logs of a region, called without HTTP."""
    from moto.backends import get_backend

    return get_backend("logs")[ACCOUNT][region]


@lru_cache
def _model() -> Any:
    """botocore's of the service, the same in all regions."""
    import boto3

    session = boto3.Session("nobody", "nobody", region_name="us-east-1")
    return session.client("sagemaker").meta.service_model
