"""Gold answers in the verifier's one spelling; all that it cannot read are named at once."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlvr.data.rows import Row
from rlvr.errors import UserError, raised_at
from rlvr.verify.verdict import Verifier

log = logging.getLogger(__name__)

LISTED = 10  # unreadable golds in a message
SHOWN = 80  # characters of a gold in a message


@dataclass(frozen=True, slots=True)
class Gold:
    """A gold answer as it is written in a place, such as "train.jsonl:17"."""

    raw: object
    where: str


def canonical(golds: Sequence[Gold], verifier: Verifier) -> list[str | ValueError]:
    """The verifier's spelling of each gold, or why there is none.

    A verifier to which single golds are slow has `canonicals(golds)`, which returns just that.
    UserError when the verifier itself is wrong: of an exception with its file and line.
    """
    name = type(verifier).__name__
    many: Any = getattr(verifier, "canonicals", None)
    if many is not None:
        read = many([gold.raw for gold in golds])
    else:
        read = [_canonical(gold, verifier, name) for gold in golds]
    for gold, text in zip(golds, read, strict=True):
        if not isinstance(text, str | ValueError):
            raise UserError(
                f"verifier {name}: canonical returned {text!r} for the gold answer "
                f"{_shown(gold.raw)} of {gold.where}; expected text, or a ValueError raised."
            )
    return read  # type: ignore[no-any-return]


def _canonical(gold: Gold, verifier: Verifier, name: str) -> str | ValueError:
    try:
        return verifier.canonical(gold.raw)
    except ValueError as error:
        return error
    except Exception as error:  # whatever a user's own verifier raises
        raise UserError(
            f"verifier {name} raised {type(error).__name__}: {error} ({raised_at(error)}), for the "
            f"gold answer {_shown(gold.raw)} of {gold.where}"
        ) from error


def with_canonical_golds(
    splits: Mapping[str, Sequence[tuple[str, Row]]],
    exemplars: Sequence[Gold],
    verifier: Verifier,
    drop: bool,
) -> dict[str, list[Row]]:
    """The rows of each split, given with their places, with canonical golds.

    UserError names the golds that the verifier cannot read. With `drop`, rows with such golds are
    left out instead, but not exemplars, nor the whole of a split.
    """
    places = [(split, where, row) for split, rows in splits.items() for where, row in rows]
    golds = [*exemplars, *(Gold(row.get("gold"), where) for _, where, row in places)]
    read = canonical(golds, verifier)
    unreadable = [
        f"{gold.where}: {_shown(gold.raw)}: {why}"
        for gold, why in zip(golds, read, strict=True)
        if isinstance(why, ValueError)
    ]
    kept: dict[str, list[Row]] = {split: [] for split in splits}
    for (split, _, row), gold in zip(places, read[len(exemplars) :], strict=True):
        if isinstance(gold, str):
            kept[split].append({**row, "gold": gold})
    of_exemplars = sum(isinstance(gold, ValueError) for gold in read[: len(exemplars)])
    emptied = any(splits[split] and not rows for split, rows in kept.items())
    unreadable.sort(key=_in_file_order)
    if unreadable and (not drop or of_exemplars or emptied):
        raise UserError(_refusal(unreadable, len(golds), verifier))
    for split, rows in kept.items():
        if dropped := len(splits[split]) - len(rows):
            log.warning("dropped %d of %d %s rows, whose gold answers cannot be read, such as %s",
                        dropped, len(splits[split]), split, unreadable[0])  # fmt: skip
    return kept


def _refusal(unreadable: Sequence[str], count: int, verifier: Verifier) -> str:
    more = [f"and {len(unreadable) - LISTED} more"] if len(unreadable) > LISTED else []
    return "\n  ".join(
        [
            f"{len(unreadable)} of {count} gold answers are not accepted by "
            f"{type(verifier).__name__}:",
            *unreadable[:LISTED],
            *more,
            "Mend or remove them, choose another dataset.verifier, or leave out such rows (not "
            "exemplars) with dataset.bad_golds=drop.",
        ]
    )


def _in_file_order(line: str) -> list[tuple[bool, int, str]]:
    parts = re.split(r"(\d+)", line)
    return [(p.isdigit(), int(p) if p.isdigit() else 0, p) for p in parts]


def _shown(gold: object) -> str:
    return repr(gold) if len(repr(gold)) <= SHOWN else repr(gold)[: SHOWN - 3] + "..."
