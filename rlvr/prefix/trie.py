"""Rows of tokens as one prefix trie: every distinct token goes through the model once.

A trie node is a pair (token, label): rows share a position only while they agree on the tokens so
far and on what the position is to predict, so each packed position has exactly one label. The trie
is laid out in depth-first pre-order, where the descendants of a position are the positions that
follow it, up to its `subtree_end`. Hence position q sees position k exactly if
`k <= q < subtree_end[k]`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

Ints = NDArray[np.int64]
UNSCORED = -100


@dataclass(frozen=True)
class TokenRow:
    """A sequence without its last token, whose output nobody reads: n tokens, m of them scored."""

    index: int  # of the row in the batch
    tokens: Ints  # (n,)
    labels: Ints  # (n,) the next token where it is scored, else UNSCORED
    columns: Ints  # (m,) the completion column of each scored label

    @property
    def key(self) -> bytes:
        """Sorts rows so that those with a common beginning are neighbours."""
        return np.stack([self.tokens, self.labels], axis=1).astype(">i8").tobytes()


@dataclass(frozen=True)
class Packed:
    """N distinct positions that stand for several rows, and where each of M scores belongs."""

    input_ids: Ints  # (N,)
    position_ids: Ints  # (N,) depth in the trie, which is the position in every row that shares it
    labels: Ints  # (N,)
    subtree_end: Ints  # (N,)
    sources: Ints  # (M,) packed position of each score
    rows: Ints  # (M,) its row in the batch
    columns: Ints  # (M,) its completion column

    def __len__(self) -> int:
        return len(self.input_ids)

    def segments(self) -> list[tuple[int, int, int]]:
        """Unbranched runs (start, end, subtree_end); [end, subtree_end) are a run's descendants."""
        follows = np.diff(self.position_ids) == 1
        same = np.diff(self.subtree_end) == 0
        starts = [0, *(np.flatnonzero(~(follows & same)) + 1).tolist()]
        ends = [*starts[1:], len(self)]
        return [(s, e, int(self.subtree_end[s])) for s, e in zip(starts, ends, strict=True)]


# Stands for a batch in which nothing is scored: one token that ties a zero to the model.
EMPTY = TokenRow(0, np.zeros(1, np.int64), np.full(1, UNSCORED), np.empty(0, np.int64))


def rows_of(input_ids: torch.Tensor, attention_mask: torch.Tensor, width: int) -> list[TokenRow]:
    """Rows of a padded batch (B, T) whose last `width` columns are completions.

    A row without a completion token is left out: nothing of it is scored.
    """
    both = torch.stack([input_ids, attention_mask.to(input_ids.dtype)]).cpu()  # one wait
    ids, mask = both.numpy().astype(np.int64)
    first = ids.shape[1] - width
    rows = (_row(i, ids[i], np.flatnonzero(mask[i]), first) for i in range(len(ids)))
    return [row for row in rows if len(row.columns)]


def _row(index: int, ids: Ints, kept: Ints, first: int) -> TokenRow:
    targets = kept[1:]
    scored = targets >= first
    labels = np.where(scored, ids[targets], UNSCORED)
    return TokenRow(index, ids[kept[:-1]], labels, targets[scored] - first)


def pack(rows: Sequence[TokenRow]) -> Packed:
    """Fold rows into one trie."""
    parts: dict[str, list[Ints]] = {name: [] for name in Packed.__annotations__}
    path, size, ends = np.empty(0, np.int64), 0, []
    for row, shared in _with_shared(_ordered(rows)):
        fresh = np.arange(size, size + len(row.tokens) - shared)
        ends.append((path[shared:], size))
        path = np.concatenate([path[:shared], fresh])
        size += len(fresh)
        parts["input_ids"].append(row.tokens[shared:])
        parts["labels"].append(row.labels[shared:])
        parts["position_ids"].append(np.arange(shared, len(row.tokens)))
        parts["sources"].append(path[row.labels != UNSCORED])
        parts["rows"].append(np.full(len(row.columns), row.index))
        parts["columns"].append(row.columns)
    subtree_end = np.full(size, size)
    for positions, end in ends:
        subtree_end[positions] = end
    parts["subtree_end"].append(subtree_end)
    return Packed(**{name: np.concatenate(part) for name, part in parts.items()})


def split(rows: Sequence[TokenRow], budget: int | None) -> list[list[TokenRow]]:
    """Cut rows into packs of at most `budget` distinct tokens; those that share most stay together.

    A row longer than the budget is a pack of its own.
    """
    packs: list[list[TokenRow]] = []
    size = 0
    for row, shared in _with_shared(_ordered(rows)):
        size += len(row.tokens) - shared
        if not packs or (budget is not None and size > budget):
            packs.append([])
            size = len(row.tokens)
        packs[-1].append(row)
    return packs


def _ordered(rows: Sequence[TokenRow]) -> list[TokenRow]:
    return sorted(rows, key=lambda row: row.key)


def _with_shared(rows: Sequence[TokenRow]) -> Iterator[tuple[TokenRow, int]]:
    """Each row with the number of leading nodes it has in common with the row before it."""
    previous: TokenRow | None = None
    for row in rows:
        yield row, 0 if previous is None else _common(previous, row)
        previous = row


def _common(a: TokenRow, b: TokenRow) -> int:
    n = min(len(a.tokens), len(b.tokens))
    equal = (a.tokens[:n] == b.tokens[:n]) & (a.labels[:n] == b.labels[:n])
    return n if equal.all() else int(equal.argmin())


def on_device(array: Ints, device: torch.device) -> torch.Tensor:
    """From pinned memory to a GPU: a copy from pageable memory is waited for."""
    tensor = torch.from_numpy(array)
    pinned = tensor.pin_memory() if device.type == "cuda" else tensor
    return pinned.to(device, non_blocking=True)


def tensors(packed: Packed, device: torch.device) -> dict[str, torch.Tensor]:
    """The model's inputs for a pack, each (1, N)."""
    names = {"input_ids": "input_ids", "position_ids": "position_ids", "shift_labels": "labels"}
    return {key: on_device(getattr(packed, name), device)[None] for key, name in names.items()}
