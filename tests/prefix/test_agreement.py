"""What is rounding and what is not, against two attentions of the model itself."""

from pathlib import Path
from typing import Any

import pytest
import torch

from rlvr.errors import UserError
from rlvr.prefix.agreement import (
    GRADIENT,
    LOG_PROBS,
    ROUNDINGS,
    Difference,
    compare,
    of_gradients,
    of_log_probs,
    require,
)

pytestmark = pytest.mark.filterwarnings("ignore")


def test_a_few_times_the_rounding_passes_and_more_does_not() -> None:
    stock, other = torch.zeros(4), torch.full((4,), 0.01)
    for factor, right in ((0.9, True), (1.1, False)):
        ours = torch.full((4,), factor * (ROUNDINGS * 0.01 + LOG_PROBS))
        assert of_log_probs(ours, stock, other).is_rounding is right
        gradients = (torch.tensor([1 + factor * (ROUNDINGS * 0.01 + GRADIENT), 0.0]),)
        found = of_gradients(gradients, (torch.tensor([1.0, 0.0]),), (torch.tensor([1.01, 0.0]),))
        assert found.is_rounding is right


def test_nan_is_no_rounding() -> None:
    nan = torch.tensor([torch.nan])
    assert not of_log_probs(nan, torch.zeros(1), torch.zeros(1)).is_rounding
    assert not of_gradients((nan,), (torch.ones(1),), (torch.ones(1),)).is_rounding


def test_the_message_names_the_switch() -> None:
    with pytest.raises(UserError, match=r"trainer\.self_check: .*gradients differ.*key=off"):
        require("gradients", "key=off", Difference(1.0, 0.1, 0.0))


def test_the_model_keeps_its_attention(harness: Any, tmp_path: Path) -> None:
    model = harness.tiny_model(tmp_path)
    used: list[str] = []

    def plain() -> tuple[torch.Tensor, ...]:
        used.append(model.config._attn_implementation)
        return (model(torch.tensor([[5, 6, 7]])).logits.detach(),)

    (stock,), (other,) = compare(plain, model)
    assert used == ["sdpa", "eager"]
    assert model.config._attn_implementation == "sdpa"
    torch.testing.assert_close(stock, other, rtol=0, atol=1e-5)
