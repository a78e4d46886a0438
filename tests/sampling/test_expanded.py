"""Decoding from each row's own copy of the keys, against attention over the whole row."""

import torch
from one_step import HEADS, KEY_HEADS, WIDTH, Layer, stock
from torch import Tensor

from rlvr.sampling.expanded import ALIGNED, Expanded
from rlvr.sampling.prefill import Prefilled

VALUE_WIDTH = 6


def test_rows_see_their_prompt_and_their_own_tokens() -> None:
    """Ragged prompts, values of another width than keys, rows that are dropped."""
    torch.manual_seed(0)
    paths = [torch.tensor([0, 1, 2, 3]), torch.tensor([0, 1, 4, 5, 6])]  # two shared positions
    keys = torch.randn(1, KEY_HEADS, 7, WIDTH)
    values = torch.randn(1, KEY_HEADS, 7, VALUE_WIDTH)
    groups, live = [1, 0, 1], [0, 1, 2]
    prefilled = Prefilled(torch.zeros(2, 1), {0: (keys, values)}, paths, shared=2)
    expanded = Expanded(prefilled, groups, new_tokens=20)
    assert expanded.mask.shape == (3, 1, 1, 2 * ALIGNED)
    assert not prefilled.layers, "the packed keys are still held"
    own: list[list[tuple[Tensor, Tensor]]] = [[], [], []]
    for step in range(20):
        query = torch.randn(len(live), HEADS, 1, WIDTH)
        key = torch.randn(len(live), KEY_HEADS, 1, WIDTH)
        value = torch.randn(len(live), KEY_HEADS, 1, VALUE_WIDTH)
        out = expanded(Layer(), query, key, value, WIDTH**-0.5)
        for place, row in enumerate(live):
            own[row].append((key[place], value[place]))
            at = paths[groups[row]]
            new_keys, new_values = zip(*own[row], strict=True)
            expected = stock(
                query[place, :, 0],
                torch.cat([keys[0, :, at], *new_keys], dim=1),
                torch.cat([values[0, :, at], *new_values], dim=1),
            )
            torch.testing.assert_close(out[place, 0], expected, atol=1e-5, rtol=1e-5)
        if step == 10:
            live = [0, 2]
            expanded.keep(torch.tensor(live))
