"""What jobs cost, from a price table: AWS's own once it was asked, or one the user wrote."""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from rlvr.errors import UserError
from rlvr.paths import PACKAGE, output_dir

SHIPPED = PACKAGE / "launchers/sagemaker/prices.yaml"
HOURS_A_MONTH = 730
VOLUME = "volume"  # US dollars for a GB and month
ABOUT = ("date", "region", VOLUME)


@dataclass(frozen=True)
class Prices:
    """US dollars: `hourly` of an instance by type, `volume` for a GB of disk and month."""

    hourly: dict[str, float]
    volume: float
    date: str
    region: str

    def cost(
        self, instance_type: str, instances: int, seconds: float, volume_gb: int = 0
    ) -> float | None:
        """Of `seconds` of billed time; None for a type the table lacks."""
        hourly = self.hourly.get(instance_type)
        if hourly is None:
            return None
        hourly += volume_gb * self.volume / HOURS_A_MONTH
        return round(hourly * instances * seconds / 3600, 4)

    def source(self) -> str:
        return f"prices of {self.date} in {self.region}"


def refreshed() -> Path:
    """Where `rlvr jobs prices --refresh` writes."""
    return output_dir() / "sagemaker-prices.yaml"


def prices(path: str | None = None) -> Prices:
    """Of the file at `path`; else of the last refresh, or those that come with rlvr."""
    if path is None:
        return _read(refreshed() if refreshed().is_file() else SHIPPED)
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(f"launcher.prices={path}: no such file")
    return _read(file)


@lru_cache
def _read(file: Path) -> Prices:
    import yaml

    table = yaml.safe_load(file.read_text(encoding="utf-8"))
    hourly = {k: v for k, v in table.items() if k not in ABOUT} if isinstance(table, dict) else {}
    if not hourly or not all(isinstance(v, int | float) for v in hourly.values()):
        raise UserError(f"{file}: expected one `instance type: dollars per hour` a line")
    return Prices(
        {str(kind): float(price) for kind, price in hourly.items()},
        float(table.get(VOLUME, 0.14)),
        str(table.get("date", "an unknown day")),
        str(table.get("region", "an unknown region")),
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
    hourly = dict(filter(None, map(_hourly, products)))
    if not hourly:
        raise UserError(f"AWS's price list has no SageMaker training in {region}: is it a region?")
    about = [f"date: {datetime.now(UTC):%Y-%m-%d}", f"region: {region}"]
    lines = [f"{kind}: {price}" for kind, price in sorted(hourly.items())]
    file = refreshed()
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
