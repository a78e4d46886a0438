"""Other answers beside the right one: by other golds, in lists, and by how they are claimed."""

import pytest

from rlvr.verify.prose import clauses, stemmed
from rlvr.verify.rivals import Vocabulary, count_rivals

GOUT = (stemmed(["gout"]),)
KNOWN = "gout; lupus; tick fever | spotted fever; tophaceous gout; cough; scurvy"


def vocabulary() -> Vocabulary:
    made = Vocabulary()
    for term in KNOWN.split("; "):
        made.add(tuple(stemmed(spelling.split()) for spelling in term.split(" | ")))
    return made


def rivals(text: str, question: str = "") -> int:
    said = clauses(text.casefold(), GOUT)
    return count_rivals(GOUT, GOUT, vocabulary(), said, stemmed(question.split()))


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("The crystals show that it is gout.", 0),
        ("It is gout. Some think of lupus here, and scurvy is near.", 2),
        ("It is gout. Tick fever, which is spotted fever, comes to mind.", 1),  # one term
        ("It is gout. The name of it is tophaceous gout.", 0),  # related
        ("It is gout and not lupus.", 0),
        ("It is gout. At first there was lupus, but lupus was ruled out.", 0),
        ("Illness: gout\nOther illness: lupus", 1),
    ],
)
def test_golds_of_other_rows(text: str, count: int) -> None:
    assert rivals(text) == count


def test_what_is_asked_is_no_answer() -> None:
    text = "He has a cough, and it is gout."
    assert rivals(text) == 1
    assert rivals(text, question="why does he cough") == 0


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("It is gout or sepsis.", 1),
        ("It is sepsis or gout.", 1),
        ("It is gout/sepsis.", 1),
        ("It is gout, sepsis, or angina.", 2),
        ("It is sepsis, angina, or gout.", 2),
        ("It is gout, sepsis, angina.", 2),
        ("Illness: gout vs. sepsis", 1),
        ("Illness: sepsis, gout", 1),
        ("It is gout, a disease of the joints.", 0),
        ("He has gout and needs rest or he will fall.", 0),
    ],
)
def test_lists_of_alternatives_outside_the_vocabulary(text: str, count: int) -> None:
    assert rivals(text) == count


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("It is gout. It is sepsis.", 1),
        ("It is gout. This is sepsis. The cause is angina.", 2),
        ("Illness: gout\nIllness: sepsis", 1),
        ("Illness 1: gout\nIllness 2: sepsis", 1),
        ("It is gout. The signs suggest sepsis. He has angina.", 1),  # one may say more of it
        ("It is gout. It is an old disease. It is painful.", 0),
        ("It is gout. He needs rest.", 0),
    ],
)
def test_claims_outside_the_vocabulary(text: str, count: int) -> None:
    assert rivals(text) == count
