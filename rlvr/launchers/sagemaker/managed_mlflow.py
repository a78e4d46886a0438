"""SageMaker's own MLflow, a tracking server or the serverless app: is it there and running?"""

import re
from collections.abc import Callable

from rlvr.errors import UserError
from rlvr.launchers.sagemaker.service import Service, aws_errors, explain

ARN = re.compile(r"arn:aws[\w-]*:sagemaker:([\w-]+):\d{12}:mlflow-(tracking-server|app)/([\w-]+)")
USABLE = ("Created", "Updated", "Started", "MaintenanceComplete", "Updating")


def is_managed(uri: str) -> bool:
    return ARN.fullmatch(uri) is not None


def check(uri: str, service: Callable[[str], Service]) -> None:
    """Raise UserError where jobs could not report to it; `service` connects to a region."""
    found = ARN.fullmatch(uri)
    assert found is not None
    region, kind, name = found.groups()
    client = service(region).sagemaker
    try:
        if kind == "app":
            status, active = client.describe_mlflow_app(Arn=uri)["Status"], True
        else:
            server = client.describe_mlflow_tracking_server(TrackingServerName=name)
            status, active = server["TrackingServerStatus"], server.get("IsActive") != "Inactive"
    except aws_errors() as error:
        raise UserError(f"tracking.uri={uri} cannot be used: {explain(error)}") from error
    if status not in USABLE or not active:
        start = (
            f"; start it: aws sagemaker start-mlflow-tracking-server --region {region} "
            f"--tracking-server-name {name}"
        )
        raise UserError(
            f"tracking.uri={uri}: SageMaker's MLflow is {status}{'' if active else ', inactive'}, "
            f"so jobs could not report to it{start if kind != 'app' else ''}"
        )
