import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.verify.exact import ExactVerifier
from rlvr.verify.verdict import Reason, Verdict

A = "\n#### The final answer is "
verifier = ExactVerifier()
words = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8)
lines = st.lists(words, min_size=1, max_size=4).map(" ".join)


def judge(completion: str, gold: str) -> Verdict:
    return verifier.verify([completion], [gold])[0]


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        (f" so{A}green tea", Reason.CORRECT),
        (f" so{A}  green   tea \n", Reason.CORRECT),
        (f" so{A}green tea{A}green tea", Reason.CORRECT),
        ("\n**#### The final answer is green tea**", Reason.CORRECT),
        (f" so{A}**green tea**", Reason.CORRECT),
        (f" so{A}**green** tea", Reason.WRONG),
        (f" so{A}Green tea", Reason.WRONG),
        (f" so{A}green tea.", Reason.WRONG),
        (f" so{A}not green tea", Reason.WRONG),
        (f" so{A}green tea{A}coffee", Reason.MULTIPLE_ANSWERS),
        (f"<think>{A}coffee</think>{A}green tea", Reason.CORRECT),
        (" so, green tea", Reason.NO_ANSWER),
        (f" so{A}", Reason.NO_ANSWER),
        ("", Reason.NO_ANSWER),
    ],
)
def test_verdicts(completion: str, reason: Reason) -> None:
    verdict = judge(completion, "green tea")
    assert verdict.reason is reason
    assert verdict.reward == float(reason is Reason.CORRECT)
    assert verdict.format_ok == (reason in (Reason.CORRECT, Reason.WRONG))


def test_own_prefix() -> None:
    assert ExactVerifier("Answer:").verify(["x\nAnswer: yes"], ["yes"])[0].correct


@pytest.mark.parametrize(("gold", "text"), [(" a  b\n", "a b"), (3, "3"), ("C", "C")])
def test_canonical(gold: object, text: str) -> None:
    assert verifier.canonical(gold) == text


@pytest.mark.parametrize("gold", [None, "", "  ", ["a"], {"a": 1}, True, "two\nlines"])
def test_what_is_no_gold(gold: object) -> None:
    with pytest.raises(ValueError, match="expected one line of text"):
        verifier.canonical(gold)


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="zip"):
        verifier.verify(["a", "b"], ["a"])


@given(lines, st.text(max_size=40))
def test_a_gold_is_correct_after_any_reasoning(gold: str, reasoning: str) -> None:
    quiet = reasoning.replace("#", "").replace("<", "")
    assert judge(f"{quiet}{A}{gold}", verifier.canonical(gold)).correct


@given(st.lists(st.text(), max_size=5))
def test_one_verdict_per_completion(completions: list[str]) -> None:
    verdicts = verifier.verify(completions, ["gold"] * len(completions))
    assert len(verdicts) == len(completions)
    assert verdicts == verifier.verify(completions, ["gold"] * len(completions))
