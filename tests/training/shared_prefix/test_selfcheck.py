"""The first step's comparison with the plain path."""

import pytest
import torch

from rlvr.errors import UserError
from rlvr.training.shared_prefix.selfcheck import EXACT, ROUNDED, float32, verify

IDS, MASK = torch.arange(12).view(3, 4), torch.ones(3, 4, dtype=torch.long)
TRUE = torch.linspace(-3, -1, 6).view(3, 2)  # (B, C)


def plain(model: object, ids: torch.Tensor, mask: torch.Tensor, width: int) -> tuple:
    assert width == 2
    return (TRUE[[int(row[0]) // 4 for row in ids]],)


@pytest.mark.parametrize(("exact", "limit"), [(True, EXACT), (False, ROUNDED)])
def test_rounding_passes_and_more_does_not(exact: bool, limit: float) -> None:
    verify(plain, None, IDS, MASK, TRUE + 0.9 * limit, exact)
    with pytest.raises(UserError, match=r"trainer\.shared_prefix=off"):
        verify(plain, None, IDS, MASK, TRUE + 1.1 * limit, exact)


def test_nan_is_no_rounding() -> None:
    with pytest.raises(UserError, match="nan"):
        verify(plain, None, IDS, MASK, TRUE * torch.nan, True)


def test_padding_is_not_compared() -> None:
    mask = MASK.clone()
    mask[2, -1] = 0
    wrong = TRUE.clone()
    wrong[2, -1] = 99
    verify(plain, None, IDS, mask, wrong, True)


def test_which_models_are_exact() -> None:
    linear = torch.nn.Linear(2, 2)
    assert float32(linear)
    assert not float32(torch.nn.Sequential(linear, torch.nn.Linear(2, 2).bfloat16()))
