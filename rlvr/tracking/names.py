"""What MLflow accepts: names, parameter values, finite metrics; and nothing secret."""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from rlvr.dotted_keys import flatten
from rlvr.secret_patterns import HIDDEN, is_secret_name, without_secrets

LONGEST_PARAM = 6000

_FORBIDDEN = re.compile(r"[^\w\-. :/]", re.ASCII)
T = TypeVar("T")


def clean_name(name: str) -> str:
    """A metric, parameter or tag name MLflow accepts: `pass@4` -> `pass_at_4`."""
    name = _FORBIDDEN.sub("_", name.replace("@", "_at_"))
    parts = [part for part in name.split("/") if part not in ("", ".", "..")]
    return "/".join(parts) or "_"


def finite_metrics(metrics: Mapping[str, float | None]) -> dict[str, float]:
    """Cleaned names and finite floats; None, NaN and infinities are left out."""
    return {
        clean_name(name): float(value)
        for name, value in metrics.items()
        if value is not None and math.isfinite(value)
    }


def clean_params(params: Mapping[str, Any]) -> dict[str, str]:
    """Flat, printable parameters: nested mappings become dotted keys, long values are cut."""
    return {clean_name(key): _param(key, value) for key, value in flatten(params)}


def _param(key: str, value: Any) -> str:
    if is_secret_name(key) and value is not None:
        return HIDDEN
    as_json = value is None or isinstance(value, bool | list | tuple | dict)
    text = without_secrets(json.dumps(value, default=str) if as_json else str(value))
    if len(text) <= LONGEST_PARAM:
        return text
    note = f"... [{len(text)} characters]"
    return text[: LONGEST_PARAM - len(note)] + note


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of at most `size` items; a server refuses larger batches."""
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
