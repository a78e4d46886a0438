"""A verdict is a fact about a completion: rewards, evaluation, health and tables share it."""

import json
import re
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from rlvr.verify.exact import ExactVerifier
from rlvr.verify.verdict import Reason, Verdict

DOCS = Path(__file__).parents[2] / "docs" / "rewards.md"


@pytest.mark.parametrize("reason", Reason)
def test_only_what_the_verifier_calls_correct_is(reason: Reason) -> None:
    """A partial answer may pay nearly everything, and a reward may pay for form alone."""
    assert Verdict(1.0, reason, "18", format_ok=True).correct is (reason is Reason.CORRECT)


def test_a_verdict_that_several_readers_share_cannot_be_changed() -> None:
    verdict = Verdict(0.0, Reason.WRONG, "17", format_ok=True)
    with pytest.raises(FrozenInstanceError):
        verdict.reward = 1.0  # type: ignore[misc]
    assert verdict == Verdict(0.0, Reason.WRONG, "17", format_ok=True)
    assert len({verdict, Verdict(0.0, Reason.WRONG, "17", format_ok=True)}) == 1


def test_without_an_answer_nothing_is_claimed() -> None:
    verdict = Verdict(0.0, Reason.NO_ANSWER)
    assert (verdict.extracted, verdict.format_ok, verdict.correct) == (None, False, False)


def test_reasons_are_written_as_their_metric_names() -> None:
    assert json.dumps([Reason.NO_ANSWER, Reason.INFRA_ERROR]) == '["no_answer", "infra_error"]'
    assert f"reasons/{Reason.TIMEOUT}" == "reasons/timeout"
    assert Reason(json.loads('"partial"')) is Reason.PARTIAL
    assert all(re.fullmatch("[a-z_]+", reason) for reason in Reason)


def test_the_documentation_explains_every_reason_and_no_other() -> None:
    rows = DOCS.read_text(encoding="utf-8").partition("| reason |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)`", rows, re.MULTILINE)) == set(Reason)


def test_verdicts_answer_completions_one_to_one() -> None:
    verifier = ExactVerifier()
    completions = ["#### The final answer is yes", "", "#### The final answer is no"]
    verdicts = verifier.verify(completions, ["yes"] * 3)
    assert [v.reason for v in verdicts] == [Reason.CORRECT, Reason.NO_ANSWER, Reason.WRONG]
