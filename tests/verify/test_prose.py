"""What counts as said: sentences and short notes, affirmed."""

import pytest

from rlvr.verify.prose import clauses, stemmed

TERM = stemmed(["appendicitis"])


def affirmed(text: str) -> bool:
    said = clauses(text.casefold(), [TERM])
    mentions = [clause for clause in said if TERM in clause.words]
    return bool(mentions) and TERM in mentions[-1].affirmed


@pytest.mark.parametrize(
    "text",
    [
        "This is acute appendicitis.",
        "It is not cholecystitis but appendicitis.",
        "There is no doubt that it is appendicitis.",
        "I do not doubt that it is appendicitis.",
        "The pain is not only typical of appendicitis, it proves it.",
        "Rather than colitis, this is appendicitis.",
        "The scan rules out colitis, so it is appendicitis.",
        "If she waits, it gets worse, for it is appendicitis.",
        "It is appendicitis. If appendicitis bursts, the belly gets hard.",
        "What is it? It is appendicitis.",
        "It may be appendicitis.",
        "It's appendicitis, and it may get worse.",
    ],
)
def test_affirmed(text: str) -> None:
    assert affirmed(text)


@pytest.mark.parametrize(
    "text",
    [
        "I doubt that the cause of all of this long and terrible pain is appendicitis.",
        "It is doubtful that this is appendicitis.",
        "I am sceptical that it is appendicitis.",
        "It is unlikely that she has appendicitis.",
        "Appendicitis is less likely in him.",
        "Appendicitis seems improbable to me.",
        "The scan helps to rule out appendicitis.",
        "We ruled out appendicitis.",
        "Appendicitis was ruled out.",
        "The evidence speaks strongly against appendicitis.",
        "I would argue against appendicitis here.",
        "One thinks of colitis rather than appendicitis.",
        "It is colitis instead of appendicitis.",
        "He prefers a diagnosis of colitis over appendicitis.",
        "It is anything but appendicitis.",
        "This is far from appendicitis.",
        "It is hardly appendicitis.",
        "There is little evidence for appendicitis.",
        "There is no need for a word like appendicitis.",
        "It is too early to speak of appendicitis.",
        "This is often mistaken for appendicitis.",
        "It looks like appendicitis, but it is not.",
        "It looks like appendicitis, although it isn't.",
        "Is it appendicitis?",
        "Could this be appendicitis? I do not know.",
        "It is unclear whether this is appendicitis.",
        "If it were appendicitis, the pain would be on the right.",
        "If she had fever, this would be appendicitis.",
        "Excluded: appendicitis",
        "Not likely: appendicitis",
        "Diagnosis: not appendicitis",
    ],
)
def test_denied_doubted_or_asked(text: str) -> None:
    assert not affirmed(text)


@pytest.mark.parametrize(
    "text",
    [
        "Diagnosis: appendicitis",
        "**Diagnosis:** appendicitis",
        "**Diagnosis**: acute appendicitis.",
        "## Diagnosis\nappendicitis",
        "Diagnosis:\n- appendicitis",
        "- appendicitis",
        "1. appendicitis",
        "* Diagnosis: appendicitis",
        "Diagnosis - appendicitis",
        "Diagnosis = appendicitis",
        "Diagnosis \u2192 appendicitis",
        "Age: 20, diagnosis: appendicitis",
        "| Diagnosis | appendicitis |",
    ],
)
def test_notes(text: str) -> None:
    assert affirmed(text)


@pytest.mark.parametrize(
    "text",
    [
        "appendicitis",
        "Appendicitis.",
        "appendicitis, colitis, gastritis",
        "Appendicitis: colitis",
        "Diagnosis: appendicitis colitis gastritis hepatitis nephritis",
        "Diagnosis: appendicitis, colitis, gastritis, hepatitis, nephritis",
        "Diagnosis: colitis\nDiagnosis: gastritis\nDiagnosis: appendicitis",
        "\n".join(f"{word}: appendicitis" for word in "one two three four five six seven".split()),
        "\n".join(f"- {word}itis" for word in "append col gastr hepat nephr arthr ot".split()),
    ],
)
def test_lists_are_no_notes(text: str) -> None:
    assert not affirmed(text)


def test_notes_stand_in_one_passage_and_paragraphs_do_not() -> None:
    notes = clauses("**illness:** gout\n\n**drug:** colchicine", [" gout "])
    assert {clause.passage for clause in notes} == {1}
    prose = clauses("the illness is gout.\n\nthe drug is colchicine.", [" gout "])
    assert {clause.passage for clause in prose} == {1, 2}
