"""Control rewards: baselines to sweep against the true reward. None of them rewards being right.

What a model learns from them it did not learn from the answers (Shao et al. 2025, Spurious
Rewards, arXiv 2506.10947). The format reward on its own is one too. The attribute `control = True`
tells the pre-flight check that a reward is not meant to pay right answers.
"""

import hashlib
from collections.abc import Sequence

from rlvr.errors import UserError
from rlvr.rewards.functions import Rewards
from rlvr.rewards.reward import Reward
from rlvr.verify.verdict import Reason, Verdict


class RandomReward:
    """1 with the given probability, else 0: a function of seed, prompt and completion alone."""

    control = True

    def __init__(self, seed: int = 0, probability: float = 0.5) -> None:
        if not 0 <= probability <= 1:
            raise UserError(
                f"probability={probability!r} of the random reward: 0 to 1 is expected."
            )
        self._seed, self._probability = seed, probability

    def __call__(self, prompts: Sequence[str], completions: Sequence[str]) -> Rewards:
        pairs = zip(prompts, completions, strict=True)
        return [float(self._draw(p, c) < self._probability) for p, c in pairs]

    def _draw(self, prompt: str, completion: str) -> float:
        """Uniform in [0, 1)."""
        text = f"{self._seed}\0{prompt}\0{completion}"
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64


def inverted_reward(verdicts: Sequence[Verdict]) -> Rewards:
    """1 for a well-formed wrong answer, 0 for a right one and for no answer at all."""
    return [float(v.format_ok and v.reason is not Reason.CORRECT) for v in verdicts]


inverted_reward.control = True  # type: ignore[attr-defined]


def control_names(rewards: Sequence[Reward]) -> list[str]:
    """The rewards that are controls by design: marked ones, or the format if nothing else pays."""
    used = [reward for reward in rewards if reward.weight]
    marked = [reward.__name__ for reward in used if reward.control]
    only_format = all(reward.only_format for reward in used)
    return marked or [reward.__name__ for reward in used if only_format]
