"""MLflow as SageMaker manages it: tracking servers, and the serverless apps."""

import secrets
import time
from collections.abc import Callable
from typing import Any

from .refusals import ApiError
from .store import ACCOUNT

Answer = dict[str, Any]


class ManagedMlflow:
    """Those of one region, ready as soon as they are made.

    `servers` and `apps` are what Describe answers, by name and by ARN; a test may change it.
    """

    def __init__(self, region: str) -> None:
        self._arn = f"arn:aws:sagemaker:{region}:{ACCOUNT}"
        self.servers: dict[str, Answer] = {}
        self.apps: dict[str, Answer] = {}
        self.operations: dict[str, Callable[[dict[str, Any]], Answer]] = {
            "CreateMlflowTrackingServer": self._create_server,
            "DescribeMlflowTrackingServer": self._describe_server,
            "CreateMlflowApp": self._create_app,
            "DescribeMlflowApp": self._describe_app,
        }

    def _create_server(self, request: dict[str, Any]) -> Answer:
        name = request["TrackingServerName"]
        if name in self.servers:
            raise ApiError("ConflictException", f"The tracking server {name} already exists.")
        arn = f"{self._arn}:mlflow-tracking-server/{name}"
        kept = ("TrackingServerName", "ArtifactStoreUri", "TrackingServerSize", "RoleArn")
        self.servers[name] = {key: request[key] for key in kept if key in request} | {
            "TrackingServerArn": arn,
            "TrackingServerStatus": "Created",
            "IsActive": "Active",
            "MlflowVersion": request.get("MlflowVersion", "3.0"),
            "CreationTime": time.time(),
        }
        return {"TrackingServerArn": arn}

    def _describe_server(self, request: dict[str, Any]) -> Answer:
        return _found(self.servers, request["TrackingServerName"])

    def _create_app(self, request: dict[str, Any]) -> Answer:
        arn = f"{self._arn}:mlflow-app/app-{secrets.token_hex(6).upper()}"
        kept = ("Name", "ArtifactStoreUri", "RoleArn")
        self.apps[arn] = {key: request[key] for key in kept if key in request} | {
            "Arn": arn,
            "Status": "Created",
            "MlflowVersion": "3.4",
            "CreationTime": time.time(),
        }
        return {"Arn": arn}

    def _describe_app(self, request: dict[str, Any]) -> Answer:
        return _found(self.apps, request["Arn"])


def _found(known: dict[str, Answer], name: str) -> Answer:
    if name not in known:
        raise ApiError("ResourceNotFound", f"{name} does not exist.")
    return known[name]
