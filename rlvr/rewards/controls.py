"""Control rewards: baselines to sweep against the true reward. None of them rewards being right.

What a model learns from them it did not learn from the answers (Shao et al. 2025, Spurious
Rewards, arXiv 2506.10947). `format_only` needs no code: it is the format reward on its own.
`control = True` tells the pre-flight check that a reward is not meant to pay right answers.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

from rlvr.errors import UserError
from rlvr.rewards.functions import Rewards, VerdictReward
from rlvr.sampling.stop import StopRule
from rlvr.verify.answers import text_of
from rlvr.verify.verdict import Reason, Verdict


class Random:
    """1 with the given probability, else 0: a function of seed, prompt and completion alone."""

    __name__ = "random"
    control = True

    def __init__(self, stop: StopRule, seed: int = 0, probability: float = 0.5) -> None:
        if not 0 <= probability <= 1:
            raise UserError(
                f"probability={probability!r} of the random reward: 0 to 1 is expected."
            )
        self._stop, self._seed, self._probability = stop, seed, probability

    def __call__(
        self, prompts: Sequence[object], completions: Sequence[object], **columns: Any
    ) -> Rewards:
        pairs = zip(prompts, completions, strict=True)
        return [float(self._draw(p, c) < self._probability) for p, c in pairs]

    def _draw(self, prompt: object, completion: object) -> float:
        """Uniform in [0, 1)."""
        text = f"{self._seed}\0{text_of(prompt)}\0{self._stop.cut(text_of(completion))}"
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64


class Inverted(VerdictReward):
    """1 for a well-formed wrong answer, 0 for a right one and for no answer at all."""

    __name__ = "inverted"
    control = True

    def pay(self, verdict: Verdict) -> float:
        return float(verdict.format_ok and verdict.reason is not Reason.CORRECT)
