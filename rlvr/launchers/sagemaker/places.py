"""Where a job may run: region, instance type, spot or on demand, in the order they are tried."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rlvr.launchers.sagemaker.instances import instance_for
from rlvr.launchers.sagemaker.settings import SageMakerSettings


@dataclass(frozen=True)
class Place:
    region: str
    instance_type: str
    spot: bool = False

    def __str__(self) -> str:
        return f"{self.instance_type} {'spot' if self.spot else 'on demand'} in {self.region}"


def places(settings: SageMakerSettings, config: Mapping[str, Any], region: str) -> list[Place]:
    """Spot everywhere before on demand anywhere, and each region's instance types in turn."""
    chosen = settings.instance_type
    first = instance_for(config.get("trainer") or {}) if chosen == "auto" else chosen
    regions = dict.fromkeys([region, *settings.regions])
    kinds = [True, False] if settings.spot and settings.on_demand_fallback else [settings.spot]
    return [
        Place(name, instance_type, spot)
        for spot in kinds
        for name in regions
        for instance_type in [first, *settings.fallback_instance_types]
    ]
