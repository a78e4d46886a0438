"""The first step's comparison with the plain path finds what is hidden, in any precision."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rlvr.errors import UserError
from rlvr.prefix.attention import DenseMask, TreeBlocks
from rlvr.training.shared_prefix.step_prefix import _Inject
from rlvr.training.shared_prefix.update import Sharing

pytestmark = pytest.mark.filterwarnings("ignore")

ACCUMULATED = {"gradient_accumulation_steps": 3, "per_device_train_batch_size": 4}


def train(harness: Any, directory: Path, dtype: torch.dtype, **settings: Any) -> None:
    # A smaller spread, as trained models have: with the harness's own any fault is enormous.
    model = harness.tiny_model(directory, initializer_range=0.08).to(dtype)
    batch = harness.few_shot(8, groups=3)
    harness.build(directory, batch, Sharing("tree"), model=model, **settings).train()


@pytest.mark.parametrize("settings", [{}, ACCUMULATED], ids=["one pack", "step prefix"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_right_values_pass(
    harness: Any, tmp_path: Path, dtype: torch.dtype, settings: dict[str, Any]
) -> None:
    train(harness, tmp_path, dtype, **settings)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_hidden_exemplar_is_found(
    harness: Any, tmp_path: Path, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third of eight, seven tokens of about seventy, for all that come after it."""
    hidden = slice(14, 21)

    class Forgetful(DenseMask):
        def __init__(self, packed: Any, device: torch.device, above: int = 0) -> None:
            super().__init__(packed, device, above)
            self.mask[:, :, hidden.stop :, hidden] = False

    def attend(self: Any, module: Any, q: Tensor, k: Tensor, v: Tensor, scaling: float) -> Tensor:
        dense = self.dense()
        dense.mask[:, :, hidden.stop :, hidden] = False
        out: Tensor = dense(module, q, k, v, scaling)
        return out

    monkeypatch.setattr(TreeBlocks, "__call__", attend)
    with pytest.raises(UserError, match=r"trainer\.self_check.*log-probabilities"):
        train(harness, tmp_path, dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gradient_that_is_lost_is_found(
    harness: Any, tmp_path: Path, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Log-probabilities are right, but nothing goes back through the step's prefix."""
    monkeypatch.setattr(_Inject, "backward", staticmethod(lambda ctx, *grads: (*grads, None)))
    with pytest.raises(UserError, match=r"trainer\.self_check.*gradients"):
        train(harness, tmp_path, dtype, **ACCUMULATED)
