"""Whether the engine computes the trainer's model: log-probabilities of the same tokens by both."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessorList, PreTrainedTokenizerBase

from rlvr.errors import UserError
from rlvr.prefix.agreement import eager
from rlvr.sampling.engine import Completions, Sampling, processors

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
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    drawn: Completions,
    sampling: Sampling,
) -> Parity:
    """On a few rows, spread over the batch."""
    assert drawn.log_probs is not None
    some = sorted({round(i * (len(prompts) - 1) / (ROWS - 1)) for i in range(ROWS)})
    engine = torch.tensor([p for i in some for p in drawn.log_probs[i]], dtype=torch.float64)

    def scored() -> Tensor:
        chain = processors(sampling, tokenizer)
        rows = (_scored(model, chain, list(prompts[i]), drawn.ids[i]) for i in some)
        return torch.cat(list(rows))

    stock = scored()
    with eager(model):
        other = scored()
    # A token at the edge of top_p may be within for one and outside for the other.
    both = stock.isfinite() & other.isfinite()

    def mean(x: Tensor) -> float:
        return float((x - stock)[both].abs().mean())

    return Parity(mean(engine), mean(other), int(both.sum()))


def _scored(model: Any, chain: LogitsProcessorList, prompt: list[int], ids: list[int]) -> Tensor:
    """(n,) log-probabilities of a completion, of the distribution that engines draw from."""
    device = model.device
    whole = torch.tensor([prompt + ids], device=device)
    logits = model(whole, use_cache=False, logits_to_keep=len(ids) + 1).logits[0, :-1]
    # What each token was drawn after, filled up with a token that is there anyway.
    places = torch.arange(len(prompt) + len(ids), device=device)
    before = torch.arange(len(prompt), len(prompt) + len(ids), device=device)[:, None]
    history = torch.where(places < before, whole, whole[:, :1])
    chosen = torch.tensor(ids, device=device)[:, None]
    scores = chain(history, logits.double()).log_softmax(-1).gather(1, chosen)[:, 0]
    return scores.cpu()
