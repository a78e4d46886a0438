"""Whether the engine computes the trainer's model: log-probabilities of the same tokens by both."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from rlvr.errors import UserError
from rlvr.prefix.agreement import eager
from rlvr.sampling.engine import Completions

ROWS = 4  # that are compared
ROUNDINGS = 3.0
# Kernels, order of sums and merged layers differ: in bfloat16 by about a hundredth of a nat.
FLOOR = 0.02


@dataclass(frozen=True)
class Parity:
    """Mean absolute differences of log-probabilities in nats a token: the engine's from the
    trainer's, and those of two of the trainer's own attentions."""

    engine: float
    rounding: float
    tokens: int

    @property
    def holds(self) -> bool:
        """False also when a number is NaN."""
        return self.engine <= ROUNDINGS * self.rounding + FLOOR

    def __str__(self) -> str:
        return (
            f"log-probabilities of {self.tokens} tokens differ by {self.engine:.2g} on average, "
            f"where two attentions of the trainer differ by {self.rounding:.2g}"
        )

    def require(self) -> None:
        if not self.holds:
            raise UserError(
                f"trainer.self_check: vLLM does not compute the trainer's model: {self}. Set "
                "trainer.generation=shared, and please report the model"
            )


def measure(
    model: Any, prompts: Sequence[Sequence[int]], drawn: Completions, temperature: float
) -> Parity:
    """On a few rows, spread over the batch."""
    assert drawn.log_probs is not None
    some = sorted({round(i * (len(prompts) - 1) / (ROWS - 1)) for i in range(ROWS)})
    rows = [([*prompts[i]], drawn.ids[i]) for i in some]
    engine = torch.tensor([p for i in some for p in drawn.log_probs[i]], dtype=torch.float64)
    stock = _scored(model, rows, temperature)
    with eager(model):
        other = _scored(model, rows, temperature)

    def mean(x: torch.Tensor) -> float:
        return float((x - stock).abs().mean())

    return Parity(mean(engine), mean(other), len(engine))


def _scored(
    model: Any, rows: Sequence[tuple[list[int], list[int]]], temperature: float
) -> torch.Tensor:
    """(tokens of all completions,) by the plain forward pass, row by row."""
    scores = []
    for prompt, ids in rows:
        whole = torch.tensor([prompt + ids], device=model.device)
        logits = model(whole, use_cache=False, logits_to_keep=len(ids) + 1).logits[0, :-1]
        chosen = torch.tensor(ids, device=model.device)[:, None]
        scores.append((logits.double() / (temperature or 1.0)).log_softmax(-1).gather(1, chosen))
    return torch.cat(scores)[:, 0].cpu()
