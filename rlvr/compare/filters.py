"""`--where shots=4 --state finished`: some runs of a comparison."""

from collections.abc import Sequence
from dataclasses import replace

from rlvr.compare.comparison import Comparison, with_differences
from rlvr.compare.names import short_names, shown
from rlvr.compare.runs import RunRow
from rlvr.errors import UserError, nearest


def select(comparison: Comparison, where: Sequence[str], state: str | None) -> Comparison:
    """Runs with each setting of `where` (`KEY=VALUE`, the key as in the table or in full)."""
    rows = comparison.rows
    for condition in where:
        name, equals, value = condition.partition("=")
        if not equals:
            raise UserError(f"--where {condition}: expected KEY=VALUE, such as --where shots=4")
        key = _key(comparison, name)
        found = [row for row in rows if _has(row, key, value)]
        if rows and not found:
            there = ", ".join(dict.fromkeys(shown(_setting(row, key)) for row in rows))
            raise UserError(f"no run with {condition}; {name} is {there}")
        rows = found
    if state is not None:
        found = [row for row in rows if row.state == state]
        if not found:
            there = ", ".join(dict.fromkeys(row.state for row in rows))
            raise UserError(f"no run is {state}; the runs are {there}")
        rows = found
    return replace(comparison, rows=with_differences([replace(row) for row in rows]))


def _key(comparison: Comparison, name: str) -> str:
    known = {key for row in comparison.rows for key in (*row.settings, *row.overrides)}
    swept = {short: key for key, short in short_names(comparison.keys).items()}
    ends = [key for key in known if key.endswith(f".{name}")]
    if name in known or name in swept or len(ends) == 1:
        return name if name in known else swept.get(name, *ends[:1])
    if ends:
        raise UserError(f"--where {name}: which of {', '.join(sorted(ends))}?")
    raise UserError(f"--where {name}: no run has this setting{nearest(name, {*known, *swept})}")


def _setting(row: RunRow, key: str) -> object:
    return row.settings.get(key, row.overrides.get(key))


def _has(row: RunRow, key: str, value: str) -> bool:
    """As it is written in the table, or as the same number."""
    found = _setting(row, key)
    if isinstance(found, int | float) and not isinstance(found, bool):
        try:
            return found == float(value)
        except ValueError:
            return False
    return shown(found) == value
