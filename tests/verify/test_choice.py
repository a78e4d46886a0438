"""The choice verifier: the documented table, letters of one's own, and its laws."""

import pytest
from documented import rows
from hypothesis import given
from hypothesis import strategies as st

from rlvr.errors import UserError
from rlvr.verify.choice import ChoiceVerifier
from rlvr.verify.verdict import Reason, Verdict

PREFIX = "#### The final answer is"
CITIES = ["London", "Paris", "Rome", "Oslo"]
VERIFIER = ChoiceVerifier(letters="ABCD")


def judge(answer: str, gold: str = "B", choices: list[str] | None = None) -> Verdict:
    columns = {} if choices is None else {"choices": [choices]}
    return VERIFIER.verify([f"So:\n{PREFIX} {answer}"], [gold], **columns)[0]


@pytest.mark.parametrize(("which", "right", "wrong"), rows("Multiple choice", "choices"))
def test_the_documented_table(which: list[str], right: list[str], wrong: list[str]) -> None:
    choices = {"with": CITIES, "without": None}[which[0]]
    for answer in right:
        assert judge(answer, choices=choices).correct, answer
    for answer in wrong:
        found = judge(answer, choices=choices)
        assert found.reward == 0, answer
        assert found.reason in (Reason.WRONG, Reason.UNPARSEABLE), answer


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"{PREFIX} (B)\n{PREFIX} b.", Reason.CORRECT),
        (f"{PREFIX} B\n{PREFIX} C", Reason.MULTIPLE_ANSWERS),
        (f"{PREFIX} B\n{PREFIX} who knows", Reason.MULTIPLE_ANSWERS),
        (f"<think>\n{PREFIX} C</think>\n{PREFIX} B", Reason.CORRECT),
        (f"{PREFIX} C", Reason.WRONG),
        (f"{PREFIX} {'B' * 2000}", Reason.UNPARSEABLE),
        ("B", Reason.NO_ANSWER),
        ("", Reason.NO_ANSWER),
    ],
)
def test_completions(text: str, reason: Reason) -> None:
    found = VERIFIER.verify([text], ["B"])[0]
    assert found.reason is reason
    assert found.format_ok == (reason in (Reason.CORRECT, Reason.WRONG))


def test_boxed_letters() -> None:
    verifier = ChoiceVerifier(answer_prefix=None)
    texts = [r"It is \boxed{\text{(B)}}.", r"\boxed{A} or \boxed{B}", "B"]
    reasons = [v.reason for v in verifier.verify(texts, ["B"] * 3)]
    assert reasons == [Reason.CORRECT, Reason.MULTIPLE_ANSWERS, Reason.NO_ANSWER]


def test_a_text_that_two_choices_share_chooses_neither() -> None:
    assert judge("Paris", choices=["Paris", "Paris", "Rome"]).reason is Reason.UNPARSEABLE
    assert judge("B", choices=["Paris", "Paris", "Rome"]).correct


def test_letters_stand_before_texts_that_look_like_letters() -> None:
    assert judge("B", choices=["B", "A", "D", "C"]).correct


@pytest.mark.parametrize("gold", ["B", "(b)", "B.", " b "])
def test_golds(gold: str) -> None:
    assert VERIFIER.canonical(gold) == "B"


@pytest.mark.parametrize("gold", ["", "E", "Paris", "B) Paris", "AB", None, 1, ["B"]])
def test_what_is_no_gold(gold: object) -> None:
    with pytest.raises(ValueError, match="is not one of the letters A, B, C, D"):
        VERIFIER.canonical(gold)


def test_own_letters() -> None:
    verifier = ChoiceVerifier(letters="1234")
    assert verifier.canonical("2") == "2"
    assert verifier.verify([f"{PREFIX} (2)"], ["2"])[0].correct
    for letters in ("", "AA", "aA", "A B"):
        with pytest.raises(UserError, match="letters="):
            ChoiceVerifier(letters=letters)


@pytest.mark.parametrize("choices", ["London", 3, ["a", "b", "c", "d", "e"]])
def test_a_wrong_column_is_named(choices: object) -> None:
    with pytest.raises(UserError, match="column choices holds"):
        VERIFIER.verify([f"{PREFIX} B"], ["B"], choices=[choices])


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="shorter"):
        VERIFIER.verify(["a", "b"], ["B"])
    with pytest.raises(ValueError, match="shorter"):
        VERIFIER.verify(["a", "b"], ["B", "B"], choices=[CITIES])


@given(
    letter=st.sampled_from("ABCD"),
    gold=st.sampled_from("ABCD"),
    form=st.sampled_from(["{}", "({})", "{}.", "{})", "**{}**", r"\text{{({})}}", "Option {}"]),
    choices=st.none() | st.just(CITIES),
)
def test_a_letter_is_right_exactly_when_it_is_the_gold(
    letter: str, gold: str, form: str, choices: list[str] | None
) -> None:
    assert judge(form.format(letter), gold, choices).correct == (letter == gold)


@given(st.lists(st.text() | st.text(alphabet="ABCD() .or:\n").map(f"{PREFIX} {{}}".format)))
def test_one_verdict_per_completion(completions: list[str]) -> None:
    found = VERIFIER.verify(completions, ["B"] * len(completions))
    assert len(found) == len(completions)
    assert all(v.reward in (0.0, 1.0) for v in found)
