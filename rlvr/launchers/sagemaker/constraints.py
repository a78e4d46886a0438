"""What the SageMaker service would refuse in a request, found before anything is uploaded.

The client library checks types and required fields only; lengths, patterns and counts are checked
by the service, after the upload. The constraints are read from botocore's own service model.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from rlvr.errors import UserError, nearest
from rlvr.launchers.sagemaker.instances import has_local_storage
from rlvr.launchers.sagemaker.settings import SageMakerSettings
from rlvr.secret_patterns import is_secret


def violations(operation: str, request: dict[str, Any], model: Any) -> list[str]:
    """Every constraint of the operation's input shape that `request` breaks.

    `model` is botocore's service model, as in `client.meta.service_model`.
    """
    shape = model.operation_model(operation).input_shape
    return [*_missing(shape, request), *_walk(shape, request, "")]


def check_machine(instance_type: str, settings: SageMakerSettings, model: Any) -> None:
    """Raise UserError for an instance type that there is not, or that cannot take the settings."""
    known = model.shape_for("TrainingInstanceType").enum
    if instance_type not in known:
        raise UserError(
            f"launcher.instance_type={instance_type}: SageMaker has no such type for training"
            f"{nearest(instance_type, known)}"
        )
    if settings.volume_kms_key and has_local_storage(instance_type):
        raise UserError(
            f"launcher.volume_kms_key: {instance_type} keeps its data on disks of its own, which "
            "AWS encrypts by itself and refuses a key for; leave launcher.volume_kms_key=null"
        )


def check_request(request: dict[str, Any], model: Any) -> None:
    """Raise UserError listing all problems of a CreateTrainingJob request."""
    problems = [
        *violations("CreateTrainingJob", request, model),
        *_spot_problems(request),
        *_secrets(request),
    ]
    if problems:
        name = request.get("TrainingJobName", "?")
        raise UserError(
            f"SageMaker would refuse the request of job {name}:\n  " + "\n  ".join(problems)
        )


def _secrets(request: dict[str, Any]) -> Iterator[str]:
    """Whoever may describe the job reads its request."""
    tags = {tag["Key"]: tag["Value"] for tag in request.get("Tags", [])}
    for where, values in {"Environment": request.get("Environment", {}), "Tags": tags}.items():
        for key, value in values.items():
            if is_secret(key, value):
                yield (
                    f"'{where}.{key}' holds a password or token, which whoever may describe the "
                    "job could read: put it into AWS Secrets Manager"
                )


def _spot_problems(request: dict[str, Any]) -> Iterator[str]:
    stopping = request.get("StoppingCondition", {})
    wait = stopping.get("MaxWaitTimeInSeconds")
    if request.get("EnableManagedSpotTraining"):
        if wait is None or wait < stopping.get("MaxRuntimeInSeconds", 0):
            yield (
                "spot: MaxWaitTimeInSeconds must be at least MaxRuntimeInSeconds "
                "(set launcher.max_wait >= launcher.max_runtime)"
            )
        if not request.get("CheckpointConfig"):
            yield "spot without CheckpointConfig: an interrupted job would start from nothing"
    elif wait is not None:
        yield "MaxWaitTimeInSeconds is only allowed with spot (set launcher.spot=true)"


def _missing(shape: Any, value: dict[str, Any]) -> Iterator[str]:
    for key in shape.required_members:
        if key not in value:
            yield f"'{key}' is missing"


def _walk(shape: Any, value: Any, path: str) -> Iterator[str]:
    if value is None:
        return
    yield from _bounds(shape, value, path)
    if shape.type_name == "structure":
        for key, member in value.items():
            if key not in shape.members:
                yield f"'{path}{key}' is unknown to this version of the service model"
                continue
            yield from _walk(shape.members[key], member, f"{path}{key}.")
    elif shape.type_name == "list":
        for index, member in enumerate(value):
            yield from _walk(shape.member, member, f"{path}{index}.")
    elif shape.type_name == "map":
        for key, member in value.items():
            yield from _bounds(shape.key, key, f"{path}{key}(key).")
            yield from _walk(shape.value, member, f"{path}{key}.")


def _bounds(shape: Any, value: Any, path: str) -> Iterator[str]:
    where, limits = path.rstrip("."), shape.metadata
    size = value if isinstance(value, int | float) else len(value)
    unit = "value" if isinstance(value, int | float) else "length"
    if "max" in limits and size > limits["max"]:
        yield f"'{where}': {unit} {size} must be <= {limits['max']}"
    if "min" in limits and size < limits["min"]:
        yield f"'{where}': {unit} {size} must be >= {limits['min']}"
    if not isinstance(value, str):
        return
    if "enum" in limits and value not in limits["enum"]:
        yield f"'{where}': {value!r} is not one of the {len(limits['enum'])} allowed values"
    if "pattern" in limits and not _pattern(limits["pattern"]).fullmatch(value):
        yield f"'{where}': {value!r} does not match {limits['pattern']}"


@lru_cache
def _pattern(pattern: str) -> re.Pattern[str]:
    # `re` lacks Unicode property classes; these are the ones the model uses
    for name, ours in (("L", r"\w"), ("N", r"\d"), ("Z", r"\s"), ("P", r"!-/:-@\[-`{-~")):
        pattern = pattern.replace(rf"\p{{{name}}}", ours)
    return re.compile(pattern)
