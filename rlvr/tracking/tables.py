"""Tables that a viewer can show, sort and filter: one scalar a cell."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

Scalar = str | int | float | bool | None


def flat_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Scalar]]:
    """Rows whose cells are scalars. Several lists of one length in a row are what its samples have:
    each sample becomes a row, with its number as `sample` where there are several. Any other list
    or mapping becomes JSON."""
    return [flat for row in rows for flat in _samples(row)]


def _samples(row: Mapping[str, Any]) -> list[dict[str, Scalar]]:
    lists = {key: value for key, value in row.items() if isinstance(value, list | tuple)}
    lengths = {len(value) for value in lists.values()}
    if lengths != {1} and (len(lengths) != 1 or len(lists) < 2 or 0 in lengths):
        return [{key: _cell(value) for key, value in row.items()}]
    (count,) = lengths
    every = []
    for place in range(count):
        one = {key: value[place] if key in lists else value for key, value in row.items()}
        number = {"sample": place} if count > 1 else {}
        every.append({key: _cell(value) for key, value in {**number, **one}.items()})
    return every


def _cell(value: Any) -> Scalar:
    if value is None or isinstance(value, str | int | float):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)
