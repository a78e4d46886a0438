"""The output layer on a CPU: log-probabilities whose gradient is made in the forward pass.

TRL's head computes the logits twice, to score and again to differentiate, with a dozen passes over
them. But the gradient of a label's log-probability by the hidden state h is known with the
softmax p, up to the factor that comes from above:

    d log p[label] / dh = W[label] - sum over v of p[v] W[v]

so one pass over tiles of the vocabulary is enough, the sum rescaled as the maximum grows. Liger
Kernel (arXiv 2410.10989) makes the gradient of its cross-entropy at the same place. On a GPU, the
fused kernels of TRL make these passes cheap.
"""

from typing import Any

import torch
from torch import Tensor

COLUMNS = 8192  # of the vocabulary at a time: a tile of a few hundred rows fits into a cache
Scores = tuple[Tensor, Tensor]  # log-probabilities and entropies, both (N,)


class LabelScores(torch.autograd.Function):
    """Log-probabilities of the labels, and entropies, which have no gradient here."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,  # (N, H)
        weight: Tensor,  # (V, H), frozen
        bias: Tensor | None,  # (V,), frozen
        labels: Tensor,  # (N,)
        temperature: float,
        softcap: float | None,
        scale: float,
    ) -> Scores:
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
        inner = hidden.to(dtype or hidden.dtype)
        wide = torch.promote_types(inner.dtype, torch.float32)
        scores = inner.new_full((len(hidden),), float("nan"), dtype=wide)
        slopes = torch.ones_like(scores)
        top = torch.full_like(scores, float("-inf"))  # maximum so far
        total, weighted = torch.zeros_like(scores), torch.zeros_like(scores)
        mean = torch.zeros(hidden.shape, dtype=wide)  # sum of e W
        for start in range(0, len(weight), COLUMNS):
            part = weight[start : start + COLUMNS]
            logits = inner @ part.to(inner.dtype).t()
            if bias is not None:
                logits += bias[start : start + COLUMNS].to(inner.dtype)
            z, slope = _transformed(logits.to(wide), temperature, softcap, scale)
            here = (labels >= start) & (labels < start + len(part))
            at = (labels[here] - start).unsqueeze(-1)
            scores[here] = z[here].gather(-1, at).squeeze(-1)
            before, top = top, torch.maximum(top, z.amax(-1))
            shrink = torch.exp(before - top)
            e = torch.exp(z - top.unsqueeze(-1))
            total = total * shrink + e.sum(-1)
            weighted = weighted * shrink + (e * z).sum(-1)
            if slope is not None:
                slopes[here] = slope[here].gather(-1, at).squeeze(-1)
                e *= slope
            mean.mul_(shrink.unsqueeze(-1)).addmm_(e, part.to(wide))
        norm = top + total.log()
        direction = slopes.unsqueeze(-1) * weight[labels].to(wide) - mean / total.unsqueeze(-1)
        ctx.save_for_backward(direction * (scale / temperature))
        ctx.dtype = hidden.dtype
        entropy = norm - weighted / total
        ctx.mark_non_differentiable(entropy)
        return scores - norm, entropy

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Any) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        (direction,) = ctx.saved_tensors
        return (direction * grad.unsqueeze(-1)).to(ctx.dtype), *(None,) * 6


def _transformed(
    logits: Tensor, temperature: float, softcap: float | None, scale: float
) -> tuple[Tensor, Tensor | None]:
    """Logits as the model scales them; and where it caps them, what their gradient is times."""
    if softcap is None:
        return logits.mul_(scale / temperature), None
    bent = torch.tanh(logits * (scale / softcap))
    return bent * (softcap / temperature), 1 - bent.square()


def applies(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether the layer is frozen, on a CPU, and its input has a gradient."""
    trained = weight.requires_grad or (bias is not None and bias.requires_grad)
    here = hidden.device.type == "cpu" and torch.is_grad_enabled()
    return here and hidden.requires_grad and not trained
