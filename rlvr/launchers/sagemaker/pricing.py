"""What jobs cost, from a price table the user can correct."""

from functools import lru_cache
from pathlib import Path

from rlvr.errors import UserError
from rlvr.paths import PACKAGE

DEFAULT = PACKAGE / "launchers/sagemaker/prices.yaml"


@lru_cache
def prices(path: str | None = None) -> dict[str, float]:
    """US dollars per instance and hour by instance type."""
    import yaml

    file = Path(path).expanduser() if path else DEFAULT
    if not file.is_file():
        raise UserError(f"launcher.prices={path}: no such file")
    table = yaml.safe_load(file.read_text(encoding="utf-8"))
    if not isinstance(table, dict) or not all(isinstance(v, int | float) for v in table.values()):
        raise UserError(f"{file}: expected one `instance type: dollars per hour` a line")
    return {str(kind): float(price) for kind, price in table.items()}


def cost(
    instance_type: str, instance_count: int, seconds: float, table: str | None = None
) -> float | None:
    """US dollars for `seconds` of billed time; None for a type the table lacks."""
    price = prices(table).get(instance_type)
    return None if price is None else round(price * instance_count * seconds / 3600, 4)


def describe(dollars: float | None) -> str:
    return "price unknown" if dollars is None else f"${dollars:,.2f}"
