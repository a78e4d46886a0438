"""Gold answers are written as the prompt has them, and each way of spoiling them spoils them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.data.prompts import Exemplar, PromptBuilder, PromptTemplate
from rlvr.errors import UserError
from rlvr.safeguards.spoilt import GOLD, SPOILT, completions
from rlvr.verify.exact import ExactVerifier
from rlvr.verify.keywords import KeywordVerifier
from rlvr.verify.math import MathVerifier
from rlvr.verify.numeric import NumericVerifier

PREFIX = "#### The final answer is"
ZERO_SHOT = PromptBuilder(PromptTemplate())
ONE_SHOT = PromptBuilder(PromptTemplate(), [Exemplar("1+1?", "One and one.", r"\boxed{2}")])


def written(gold, other="7", builder=ZERO_SHOT, verifier=None, **columns):
    row = {"prompt": builder("How many?"), "gold": gold, **columns}
    return completions(builder, verifier or NumericVerifier(), row, other)


def test_every_way_of_spoiling_a_number():
    texts = written("-12", solution=" The sum is 12. ")
    assert texts.keys() == {GOLD, *SPOILT}
    assert texts[GOLD] == f" The sum is 12.\n{PREFIX} -12"
    assert texts["changed"].endswith("is -23")
    assert texts["sign flipped"].endswith("is 12")
    assert texts["another's"].endswith("is 7")
    assert texts["negated"].endswith("is not -12")
    assert texts["cut off"] == f" The sum is 12.\n{PREFIX}"
    assert texts["empty"] == ""


def test_what_would_be_the_gold_is_left_out():
    assert written("yes", "yes", verifier=ExactVerifier()).keys() == {
        *(GOLD, "changed", "negated", "cut off", "empty")
    }


def test_the_solution_is_the_rows_own_or_an_exemplars():
    assert written("1", solution="So.")[GOLD].startswith(" So.\n")
    assert written("1", builder=ONE_SHOT)[GOLD].startswith(" One and one.\n")
    assert written("1", solution=3)[GOLD].startswith(" This is the answer.\n")


def test_a_thought_that_the_prompt_opens_is_closed():
    builder = PromptBuilder(PromptTemplate(solution="<think>"))
    texts = written("1", builder=builder, solution="So.")
    assert texts[GOLD] == f" So.\n</think>\n{PREFIX} 1"


def test_boxes_where_the_exemplars_have_them_or_nothing_else_is_read():
    assert r"is \boxed{1}" in written("1", builder=ONE_SHOT)[GOLD]
    boxes = MathVerifier(answer_prefix=None, workers=1)
    assert r"is \boxed{1}" in written("1", verifier=boxes)[GOLD]
    thinking = PromptBuilder(PromptTemplate(solution="<think>"))
    assert r"is \boxed{1}" in written("1", builder=thinking, verifier=boxes)[GOLD]
    assert "boxed" not in written("1", verifier=NumericVerifier())[GOLD]


def test_a_verifier_may_write_its_own_example():
    verifier = KeywordVerifier()
    gold, other = (verifier.canonical(g) for g in ("diagnosis: influenza", "diagnosis: asthma"))
    texts = written(gold, other, verifier=verifier)
    assert texts[GOLD] == verifier.example(gold)
    assert "is not" in texts["negated"]
    assert texts.keys() == {GOLD, "another's", "negated", "cut off", "empty"}
    thinking = PromptBuilder(PromptTemplate(solution="<think>"))
    texts = written(gold, other, builder=thinking, verifier=verifier)
    assert texts[GOLD] == f"\n</think>\n{verifier.example(gold)}"


def test_an_example_that_fails_names_the_users_line():
    class Own(NumericVerifier):
        def example(self, gold):
            return {}[gold]

    with pytest.raises(UserError, match=r"verifier Own.example\('1'\) raised KeyError.*spoilt.py:"):
        written("1", verifier=Own())


@given(
    gold=st.integers().map(str)
    | st.decimals(allow_nan=False, allow_infinity=False, places=2).map(str)
)
def test_no_spoilt_number_is_right(gold):
    verifier = NumericVerifier()
    canonical = verifier.canonical(gold)
    texts = written(canonical, verifier.canonical("7.5"))
    for way, text in texts.items():
        (verdict,) = verifier.verify([text], [canonical])
        assert verdict.correct == (way == GOLD or (way == "another's" and canonical == "15/2"))


@pytest.mark.parametrize("gold", ["0", "0.00"])
def test_zero_has_no_other_sign(gold):
    assert "sign flipped" not in written(NumericVerifier().canonical(gold))
