"""What jobs cost, from a price table: AWS's own once it was asked, or one the user wrote."""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from rlvr.errors import UserError
from rlvr.launchers.sagemaker.instances import has_local_storage
from rlvr.paths import PACKAGE, output_dir

SHIPPED = PACKAGE / "launchers/sagemaker/prices.yaml"
HOURS_A_MONTH = 730
VOLUME = "volume"  # US dollars for a GB and month
ABOUT = ("date", "region", VOLUME)
EVERYWHERE = "every region"


@dataclass(frozen=True)
class Prices:
    """US dollars: `instances` by type and hour, `volume` for a GB of disk and month."""

    instances: dict[str, float]
    volume: float
    date: str
    region: str

    def hourly(self, instance_type: str, count: int, volume_gb: int) -> tuple[float, float] | None:
        """Of so many instances, and of a disk for each; None for a type the table lacks."""
        price = self.instances.get(instance_type)
        bought = 0 if has_local_storage(instance_type) else volume_gb
        disk = bought * self.volume / HOURS_A_MONTH
        return None if price is None else (count * price, count * disk)

    def source(self) -> str:
        return f"prices of {self.date} in {self.region}"


def refreshed(region: str) -> Path:
    """Where `rlvr jobs prices --refresh` writes."""
    return output_dir() / f"sagemaker-prices-{region}.yaml"


def prices(region: str, path: str | None = None) -> Prices | None:
    """Of the file at `path`; else of the last refresh, or those that come with rlvr.

    None where no table is of the region. One of the user's own that names no region is of all.
    """
    if path is not None:
        own = _read(Path(path).expanduser())
        return own if own.region in (region, EVERYWHERE) else None
    table = _read(refreshed(region) if refreshed(region).is_file() else SHIPPED)
    return table if table.region == region else None


@lru_cache
def _read(file: Path) -> Prices:
    import yaml

    table = yaml.safe_load(file.read_text(encoding="utf-8"))
    known = {k: v for k, v in table.items() if k not in ABOUT} if isinstance(table, dict) else {}
    if not known or not all(isinstance(v, int | float) for v in known.values()):
        raise UserError(f"{file}: expected one `instance type: dollars per hour` a line")
    return Prices(
        {str(kind): float(price) for kind, price in known.items()},
        float(table.get(VOLUME, 0.14)),
        str(table.get("date", "an unknown day")),
        str(table.get("region", EVERYWHERE)),
    )


def describe(dollars: float | None) -> str:
    return "price unknown" if dollars is None else f"${dollars:,.2f}"


def refresh(region: str, client: Any) -> Path:
    """Ask AWS's price list, by a boto3 `pricing` client, and write what it says of the region."""
    fields = {"regionCode": region, "component": "Training"}
    filters = [{"Type": "TERM_MATCH", "Field": k, "Value": v} for k, v in fields.items()]
    pages = client.get_paginator("get_products").paginate(
        ServiceCode="AmazonSageMaker", FormatVersion="aws_v1", Filters=filters
    )
    products = [json.loads(product) for page in pages for product in page["PriceList"]]
    hourly: dict[str, float] = {}
    for kind, price in filter(None, map(_hourly, products)):
        hourly[kind] = max(price, hourly.get(kind, 0.0))
    if not hourly:
        raise UserError(f"AWS's price list has no SageMaker training in {region}: is it a region?")
    about = [f"date: {datetime.now(UTC):%Y-%m-%d}", f"region: {region}"]
    lines = [f"{kind}: {price}" for kind, price in sorted(hourly.items())]
    file = refreshed(region)
    file.parent.mkdir(parents=True, exist_ok=True)
    head = "# US dollars, on demand, from AWS's price list: rlvr jobs prices --refresh"
    file.write_text("\n".join([head, *about, *lines]) + "\n", encoding="utf-8")
    _read.cache_clear()
    return file


def _hourly(product: dict[str, Any]) -> tuple[str, float] | None:
    """Instance type or `volume`, and its price on demand; None for what else is sold."""
    attributes = product["product"]["attributes"]
    usage = attributes.get("usagetype", "")
    found = re.search(r"ml\.[\w-]+\.\w+", attributes.get("instanceName") or usage)
    kind = found.group() if found else VOLUME if "VolumeUsage" in usage else None
    prices = [
        float(dimension["pricePerUnit"]["USD"])
        for term in product["terms"].get("OnDemand", {}).values()
        for dimension in term["priceDimensions"].values()
        if float(dimension["pricePerUnit"].get("USD", 0)) > 0
    ]
    return (kind, max(prices)) if kind and prices and "Spot" not in usage else None
