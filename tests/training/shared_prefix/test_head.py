"""The output layer on a CPU against softmax in float64, and where TRL's own is left in place."""

from typing import Any

import pytest
import torch
from torch import Tensor
from trl.kernels import ChunkedLogProbFunction

from rlvr.training.shared_prefix import head
from rlvr.training.trl_private import _Head

ROWS, WIDTH, VOCABULARY = 37, 64, 20_000  # three tiles, the last of them cut


def layer(dtype: torch.dtype, bias: bool) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    torch.manual_seed(0)
    hidden = torch.randn(ROWS, WIDTH, dtype=torch.float64).to(dtype).requires_grad_()
    weight = (torch.randn(VOCABULARY, WIDTH, dtype=torch.float64) * 0.3).to(dtype)
    shift = torch.randn(VOCABULARY, dtype=torch.float64).to(dtype) if bias else None
    return hidden, weight, shift, torch.randint(0, VOCABULARY, (ROWS,))


def plain(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, *how: Any
) -> tuple[Tensor, Tensor]:
    temperature, softcap, scale = how
    logits = hidden @ weight.double().T
    logits = (logits if bias is None else logits + bias.double()) * scale
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    logp = (logits / temperature).log_softmax(-1)
    return logp.gather(1, labels[:, None])[:, 0], -(logp * logp.exp()).sum(-1)


@pytest.mark.parametrize("how", [(1.0, None, 1.0), (0.7, None, 0.25), (0.7, 30.0, 2.0)])
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 4e-2)],
)
def test_scores_entropies_and_gradient(
    how: tuple[float, float | None, float], dtype: torch.dtype, tolerance: float
) -> None:
    hidden, weight, bias, labels = layer(dtype, bias=how[1] is not None)
    grad = torch.randn(ROWS, dtype=torch.float64)
    exact = hidden.detach().double().requires_grad_()
    scores, entropy = plain(exact, weight, bias, labels, *how)
    ours, our_entropy = head.LabelScores.apply(hidden, weight, bias, labels, *how)
    for mine, right in (
        (ours, scores),
        (our_entropy, entropy),
        (
            torch.autograd.grad(ours, hidden, grad.to(ours.dtype))[0],
            torch.autograd.grad(scores, exact, grad)[0],
        ),
    ):
        torch.testing.assert_close(mine.double(), right, rtol=tolerance, atol=tolerance)


def test_bfloat16_is_no_further_from_the_truth_than_trls() -> None:
    hidden, weight, _, labels = layer(torch.bfloat16, bias=False)
    grad = torch.randn(ROWS)
    exact = hidden.detach().double().requires_grad_()
    right = torch.autograd.grad(plain(exact, weight, None, labels, 1.0, None, 1.0)[0].sum(), exact)
    off = []
    for function, arguments in (
        (head.LabelScores, (1.0, None, 1.0)),
        (ChunkedLogProbFunction, (1.0, 32768, None, 1.0, ("log_probs", "entropy"))),
    ):
        scores = function.apply(hidden, weight, None, labels, *arguments)[0]
        found = torch.autograd.grad(scores, hidden, torch.ones_like(grad))[0]
        off.append((found.double() - right[0]).norm())
    assert off[0] <= off[1] * 1.05


def made_by(hidden: Tensor, weight: Tensor, *outputs: str) -> str:
    labels = torch.zeros(ROWS, dtype=torch.long)
    found = _Head.apply(hidden, weight, None, labels, 1.0, 32768, None, 1.0, outputs)
    assert found[0] is not None
    return type(found[0].grad_fn).__name__


def test_trls_head_stays_where_ours_would_lose_a_gradient() -> None:
    hidden, weight, _, _ = layer(torch.float32, bias=False)
    assert made_by(hidden, weight, "log_probs", "entropy") == "LabelScoresBackward"
    theirs = "ChunkedLogProbFunctionBackward"
    assert made_by(hidden, weight.clone().requires_grad_(), "log_probs") == theirs
    assert made_by(hidden, weight, "log_probs", "is_top1") == theirs
    with torch.no_grad():
        assert made_by(hidden, weight, "log_probs") == "NoneType"
