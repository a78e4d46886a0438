"""The trie against a brute-force reading of the same rows."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr.prefix.trie import UNSCORED, Packed, TokenRow, pack, rows_of, split

# Two-letter alphabets make shared beginnings, duplicates and prefixes of one another common.
tokens = st.lists(st.integers(1, 2), min_size=1, max_size=6)
batches = st.lists(st.tuples(tokens, tokens), min_size=1, max_size=6)


def padded(batch: list[tuple[list[int], list[int]]]) -> tuple[torch.Tensor, torch.Tensor, int]:
    left, right = max(len(p) for p, _ in batch), max(len(c) for _, c in batch)
    ids = torch.zeros(len(batch), left + right, dtype=torch.long)
    for i, (prompt, completion) in enumerate(batch):
        ids[i, left - len(prompt) : left] = torch.tensor(prompt)
        ids[i, left : left + len(completion)] = torch.tensor(completion)
    return ids, (ids > 0).long(), right


def rows(batch: list[tuple[list[int], list[int]]]) -> list[TokenRow]:
    return rows_of(*padded(batch))


def seen(packed: Packed, position: int) -> list[int]:
    """Tokens that `position` attends to, by the rule in the module's docstring."""
    return [
        int(packed.input_ids[k]) for k in range(position + 1) if position < packed.subtree_end[k]
    ]


@given(batches)
@settings(max_examples=200, deadline=None)
def test_every_score_sees_exactly_its_own_row(batch: list[tuple[list[int], list[int]]]) -> None:
    packed = pack(rows(batch))
    scores = {}
    for source, row, column in zip(packed.sources, packed.rows, packed.columns, strict=True):
        prompt, completion = batch[row]
        before = (prompt + completion)[: len(prompt) + column]
        assert seen(packed, source) == before
        assert packed.position_ids[source] == len(before) - 1
        assert packed.labels[source] == completion[column]
        scores[row, column] = source
    assert sorted(scores) == [(i, c) for i, (_, comp) in enumerate(batch) for c in range(len(comp))]


@given(batches)
@settings(max_examples=200, deadline=None)
def test_no_position_is_stored_twice(batch: list[tuple[list[int], list[int]]]) -> None:
    packed = pack(rows(batch))
    paths = {
        tuple(zip(row.tokens[: n + 1].tolist(), row.labels[: n + 1].tolist(), strict=True))
        for row in rows(batch)
        for n in range(len(row.tokens))
    }
    assert len(packed) == len(paths)


@given(batches)
@settings(max_examples=200, deadline=None)
def test_segments_tile_the_row_and_their_blocks_make_the_mask(
    batch: list[tuple[list[int], list[int]]],
) -> None:
    packed = pack(rows(batch))
    q, k = np.arange(len(packed))[:, None], np.arange(len(packed))[None]
    mask = (k <= q) & (q < packed.subtree_end[None])
    blocks = np.zeros_like(mask)
    for start, end, last in packed.segments():
        blocks[start:end, start:end] |= np.tri(end - start, dtype=bool)
        blocks[end:last, start:end] = True
    assert (blocks == mask).all()
    assert [s for s, _, _ in packed.segments()][1:] == [e for _, e, _ in packed.segments()][:-1]


@given(batches, st.integers(1, 30))
@settings(max_examples=200, deadline=None)
def test_packs_keep_the_budget_and_lose_no_row(
    batch: list[tuple[list[int], list[int]]], budget: int
) -> None:
    packs = split(rows(batch), budget)
    assert sorted(row.index for part in packs for row in part) == list(range(len(batch)))
    for part in packs:
        assert len(pack(part)) <= budget or len(part) == 1
    assert len(split(rows(batch), None)) == 1


def test_a_few_shot_prefix_and_a_question_are_stored_once() -> None:
    prefix, questions = list(range(10, 50)), [[1, 2, 3], [4, 5, 6, 7]]
    batch = [
        (prefix + question, [answer, 9, answer]) for question in questions for answer in (60, 70)
    ]
    # A row's last token is not forwarded, and each branch repeats the question's last token.
    assert len(pack(rows(batch))) == 40 + (2 + 3) + 4 * 3


def test_a_completion_that_is_masked_out_is_left_out() -> None:
    ids, mask, width = padded([([1, 2], [3, 4]), ([1, 2], [5, 6])])
    mask[1, -width:] = 0
    assert [row.index for row in rows_of(ids, mask, width)] == [0]


def test_labels_outside_completions_are_not_scored() -> None:
    (row,) = rows([([7, 8, 9], [1, 2])])
    assert row.labels.tolist() == [UNSCORED, UNSCORED, 1, 2]
    assert row.columns.tolist() == [0, 1]
