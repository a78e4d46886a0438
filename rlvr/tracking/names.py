"""What MLflow accepts: names, parameter values, finite metrics; and nothing secret."""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

LONGEST_PARAM = 6000
HIDDEN = "<hidden>"

_FORBIDDEN = re.compile(r"[^\w\-. :/]", re.ASCII)
_SECRET_KEY = re.compile(
    r"((^|[._-])((hf|hub|huggingface|wandb|auth|access|api|bearer|session)[_-]?(token|key)"
    r"|secret|secret[_-]key|password|passwd|credentials?)|(^|\.)token)$",
    re.IGNORECASE,
)
_SECRET_VALUE = re.compile(
    r"\bhf_[A-Za-z0-9]{20,}|\bgh[pousr]_[A-Za-z0-9]{20,}|\bsk-[A-Za-z0-9_-]{20,}"
    r"|\bA(?:KIA|SIA)[A-Z0-9]{16}\b|(?<=://)[^/@\s:]*:[^/@\s]+(?=@)"
)

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


def without_secrets(text: str) -> str:
    """The text with tokens, access keys and `user:password@` replaced."""
    return _SECRET_VALUE.sub(HIDDEN, text)


def clean_params(params: Mapping[str, Any]) -> dict[str, str]:
    """Flat, printable parameters: nested mappings become dotted keys, long values are cut."""
    return {clean_name(key): _param(key, value) for key, value in flatten(params)}


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of a nested mapping with their dotted keys; an empty mapping is a leaf."""
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{name}.")
        else:
            yield name, value


def _param(key: str, value: Any) -> str:
    if _SECRET_KEY.search(key) and value is not None:
        return HIDDEN
    text = value if isinstance(value, str) else _printable(value)
    text = without_secrets(text)
    if len(text) <= LONGEST_PARAM:
        return text
    note = f"... [{len(text)} characters]"
    return text[: LONGEST_PARAM - len(note)] + note


def _printable(value: Any) -> str:
    if value is None or isinstance(value, bool | list | tuple | dict):
        return json.dumps(value, default=str)
    return str(value)


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
