"""Words after a number: the place of a word decides, and the list is closed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.verify.units import MULTIPLIERS, NUMBER_WORDS, leaves_value

NOUNS = st.sampled_from("eggs dollars apples hours people books".split())
DENIED = st.sampled_from("or not maybe never plus doubled approximately isn't halves pi".split())


@pytest.mark.parametrize(
    "tail",
    [
        " times",
        " times a day",
        " sixth graders",
        " in two weeks",
        " for working two weeks",
        " more than team B",
        " a dozen",
        "/dozen",
        " in May",
        " errors so far",
        " Mr. Smith's cats",
        " more sit-ups than Ken.",
        " of the first half",
        " with no name",
        " if they sell it",
        " jalapeños",
        "m",
        "/L",
    ],
)
def test_harmless(tail: str) -> None:
    assert leaves_value(tail, currency=False)


@pytest.mark.parametrize(
    "tail",
    [
        " times two",
        " times A",
        " sixth",
        " in two",
        " in two million",
        " dozen",
        " per two",
        " may be",
        " so",
        " the",
        " eggs and",
        " eggs (",
        " (eggs",
        " eggs)",
        " eggs I counted",
        " dollars K",
        " eggs. Not",
        "  eggs",
        " eggs\nor",
        " x",
        " I think",
        "-odd people",
        "ish",
        "abc",
        " b c d e f g h i j",
        " \u4e07",
        " \u00bd",
        " \u216b",
    ],
)
def test_harmful(tail: str) -> None:
    assert not leaves_value(tail, currency=False)


@pytest.mark.parametrize("tail", ["m", " m", " M", " K", " L", "mm", " grand piano", " mm"])
def test_letters_behind_money_may_be_multipliers(tail: str) -> None:
    assert not leaves_value(tail, currency=True)


def test_a_day_and_an_hour_behind_money_are_units() -> None:
    assert leaves_value(" a day", currency=True)
    assert leaves_value("/h", currency=True)


@given(noun=NOUNS, denied=DENIED, other=NOUNS)
def test_a_denied_word_is_denied_wherever_it_stands(noun: str, denied: str, other: str) -> None:
    for words in ([denied], [denied, noun], [noun, denied], [noun, denied, other]):
        assert not leaves_value(" " + " ".join(words), currency=False)


@given(word=st.sampled_from(sorted(MULTIPLIERS | NUMBER_WORDS)), noun=NOUNS)
def test_multipliers_and_number_words_never_stand_behind_a_number(word: str, noun: str) -> None:
    assert not leaves_value(f" {word}", currency=False)
    assert not leaves_value(f" {word} {noun}", currency=False)
    assert not leaves_value(f" {noun} or {word}", currency=False)
    assert not leaves_value(f" {noun} and {word} {noun}", currency=False)


@given(tail=st.text(alphabet=" .,/()-'&abcnotrx"), digit=st.sampled_from("0123456789٣"))
def test_another_digit_is_never_harmless(tail: str, digit: str) -> None:
    assert not leaves_value(f" {tail}{digit}x", currency=False)
