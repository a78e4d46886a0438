"""What the service refuses in a request, by botocore's model and by AWS's documents.

Written without a look at the launcher's own checks, which these are to find wanting.
"""

from collections.abc import Iterator
from typing import Any

import regex
from botocore.validate import ParamValidator

MOST_TAGS = 50
LONGEST_RUN = 28 * 86400  # seconds
LONGEST_KEPT = 3600  # seconds, by the page on warm pools, where the model says 21600
# "You can't request a VolumeKmsKeyId when using an instance type with local storage"
LOCAL_STORAGE = "g4dn g5 g6 g6e gr6 p3dn p4d p4de p5 p5e p5en m5d c5d r5d trn1 trn1n trn2".split()


def refusals(operation: str, request: dict[str, Any], model: Any) -> list[str]:
    """Messages of a ValidationException; none for a request that the service takes."""
    shape = model.operation_model(operation).input_shape
    report = ParamValidator().validate(request, shape)
    if report.has_errors():
        return [report.generate_report()]
    found = list(_limits(shape, request, ""))
    if operation == "CreateTrainingJob":
        found += _documented(request)
    if operation == "AddTags":
        found += _tags(request["Tags"])
    return found


def _limits(shape: Any, value: Any, where: str) -> Iterator[str]:
    kind, limits = shape.type_name, shape.metadata
    if kind == "structure":
        for name in value:
            if name in shape.members:
                yield from _limits(shape.members[name], value[name], f"{where}.{name}")
            else:
                yield f"Unknown parameter {where}.{name}"
        return
    length = value if kind in ("integer", "long", "float", "double") else None
    if length is None and hasattr(value, "__len__"):
        length = len(value)
    if length is not None and length > limits.get("max", length):
        yield f"Value at '{where}' failed to satisfy constraint: at most {limits['max']}"
    if kind == "string":
        if getattr(shape, "enum", None) and value not in shape.enum:
            yield f"Value at '{where}' failed to satisfy constraint: Member must satisfy enum"
        if "pattern" in limits and not regex.fullmatch(limits["pattern"], value):
            yield f"Value at '{where}' failed to satisfy constraint: pattern {limits['pattern']}"
    if kind == "list":
        for number, member in enumerate(value):
            yield from _limits(shape.member, member, f"{where}.{number + 1}")
    if kind == "map":
        for name, member in value.items():
            yield from _limits(shape.key, name, f"{where}.{name}")
            yield from _limits(shape.value, member, f"{where}.{name}")


def _documented(request: dict[str, Any]) -> Iterator[str]:
    """What no model says."""
    names = [channel["ChannelName"] for channel in request.get("InputDataConfig", [])]
    if len(names) != len(set(names)):
        yield "Channel names must be unique."
    yield from _machine(request)
    yield from _times(request)
    yield from _tags(request.get("Tags", []))


def _machine(request: dict[str, Any]) -> Iterator[str]:
    machine = request.get("ResourceConfig", {})
    if not machine.get("InstanceCount") or "InstanceType" not in machine:
        yield "InstanceType and InstanceCount are needed; the emulator has no instance groups."
    if machine.get("VolumeKmsKeyId") and has_local_storage(machine.get("InstanceType", "")):
        yield "VolumeKmsKeyId cannot be requested for an instance type with local storage."
    if machine.get("KeepAlivePeriodInSeconds", 0) > LONGEST_KEPT:
        yield f"KeepAlivePeriodInSeconds must be at most {LONGEST_KEPT}."
    if request.get("EnableManagedSpotTraining") and machine.get("KeepAlivePeriodInSeconds"):
        yield "KeepAlivePeriodInSeconds is not supported for managed spot training."


def _times(request: dict[str, Any]) -> Iterator[str]:
    limit, spot = request.get("StoppingCondition", {}), request.get("EnableManagedSpotTraining")
    wait, run = limit.get("MaxWaitTimeInSeconds"), limit.get("MaxRuntimeInSeconds", 86400)
    if run > LONGEST_RUN:
        yield f"MaxRuntimeInSeconds must be at most {LONGEST_RUN} (28 days)."
    if spot and (wait is None or wait < run):
        yield (
            "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to "
            f"MaxRuntimeInSeconds: {run}"
        )
    if not spot and wait is not None:
        yield "MaxWaitTimeInSeconds requires EnableManagedSpotTraining."


def _tags(tags: list[dict[str, str]]) -> Iterator[str]:
    keys = [tag["Key"] for tag in tags]
    if len(keys) != len(set(keys)):
        yield "Tag keys must be unique."
    if any(key.lower().startswith("aws:") for key in keys):
        yield "Tag keys must not begin with aws:, which is for AWS itself."


def has_local_storage(instance_type: str) -> bool:
    """Whether its disks are its own, so that no volume is bought for it."""
    return instance_type.removeprefix("ml.").partition(".")[0] in LOCAL_STORAGE
