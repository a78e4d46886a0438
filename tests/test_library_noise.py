"""What libraries say of what is done on purpose does not reach the user; all else does."""

import logging

import pytest

from rlvr.library_noise import quiet_libraries
from rlvr.verify.verdict import Reason, Verdict


@pytest.mark.parametrize(
    ("verdict", "heard"),
    [(Verdict(None, Reason.TIMEOUT), False), (Verdict(1.0, Reason.CORRECT), True)],
)
def test_trl_says_nothing_of_failed_verdicts(verdict, heard, caplog):
    quiet_libraries()
    row = {"gold": "12", "verdicts": verdict}
    message = f"All reward functions returned None for the following kwargs:\n{row}"
    logging.getLogger("trl.trainer.grpo_trainer").warning(message)
    assert ("All reward functions" in caplog.text) == heard
