"""Decoding from one copy of every shared key, against attention over the whole row."""

import torch
from one_step import HEADS, KEY_HEADS, WIDTH, Layer, stock
from torch import Tensor

from rlvr.sampling.cascade import Cascade, Own, Prompts


def test_rows_see_prefix_question_and_their_own_tokens() -> None:
    torch.manual_seed(0)
    paths = [torch.tensor([0, 1, 2, 3]), torch.tensor([0, 1, 4, 5, 6])]  # two shared positions
    packed = torch.randn(2, 1, KEY_HEADS, 7, WIDTH)
    prompts = Prompts.cut({0: (packed[0], packed[1])}, paths, shared=2)
    groups = [1, 0, 1]
    cascade = Cascade(prompts, groups)
    own: list[list[Tensor]] = [[], [], []]
    live = [0, 1, 2]
    for step in range(20):
        query = torch.randn(len(live), HEADS, 1, WIDTH)
        new = torch.randn(2, len(live), KEY_HEADS, 1, WIDTH)
        out = cascade(Layer(), query, new[0], new[1], WIDTH**-0.5)
        for place, row in enumerate(live):
            own[row].append(new[:, place, :, 0])
            before = packed[:, 0, :, paths[groups[row]]]
            whole = torch.cat([before, torch.stack(own[row], dim=2)], dim=2)
            expected = stock(query[place, :, 0], whole[0], whole[1])
            torch.testing.assert_close(out[place, 0], expected, atol=1e-5, rtol=1e-5)
        if step == 10:
            live = [0, 2]
            cascade.keep(live)


def test_own_tokens_outgrow_their_buffer() -> None:
    own, pairs = Own(), [torch.randn(2, 1, KEY_HEADS, 1, WIDTH) for _ in range(40)]
    for pair in pairs:
        key, value = own.append((pair[0], pair[1]))
    assert torch.equal(key, torch.cat([pair[0] for pair in pairs], dim=2))
    assert torch.equal(value, torch.cat([pair[1] for pair in pairs], dim=2))
