"""The reference recipe's rewards pay what the verdicts say."""

from rlvr.rewards.functions import correctness_reward, format_reward
from rlvr.verify.numeric import NumericVerifier
from rlvr.verify.verdict import Reason, Verdict

PREFIX = "#### The final answer is"


def test_format_and_correctness() -> None:
    texts = [f" 6 + 6 = 12.\n{PREFIX} 12", f"\n{PREFIX} 13", f"\n{PREFIX} twelve", " no answer"]
    verdicts = NumericVerifier().verify(texts, ["12"] * 4)
    assert format_reward(verdicts) == [1.0, 1.0, 0.0, 0.0]
    assert correctness_reward(verdicts) == [1.0, 0.0, 0.0, 0.0]


def test_partial_verdicts_pay_in_part_and_failed_ones_nothing() -> None:
    verdicts = [Verdict(0.25, Reason.PARTIAL), Verdict(None, Reason.TIMEOUT, format_ok=True)]
    assert correctness_reward(verdicts) == [0.25, None]
