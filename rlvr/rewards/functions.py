"""The rewards of the reference recipe: what a verdict pays."""

from collections.abc import Sequence

from rlvr.verify.verdict import Verdict

Rewards = list[float | None]


def format_reward(verdicts: Sequence[Verdict]) -> Rewards:
    """1 for one well-formed answer, right or wrong."""
    return [float(verdict.format_ok) for verdict in verdicts]


def correctness_reward(verdicts: Sequence[Verdict]) -> Rewards:
    """The verdict's own reward."""
    return [verdict.reward for verdict in verdicts]
