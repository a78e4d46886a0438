"""The last number of a text, whatever stands around it."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.safeguards.second_opinion import agrees, gold_number, last_number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("10 - 4 = 6.", 6),
        ("is -12", -12),
        ("is -$1,080 dollars", -1080),
        ("is $-12", -12),
        ("10-12", 12),
        ("12 cm^2 of CO2", 12),
        ("1.2e3", 1200),
        ("3/4", Fraction(3, 4)),
        (r"\frac{1}{2}", Fraction(1, 2)),
        (".5", Fraction(1, 2)),
        ("1{,}234", 1234),
        ("12 or 13", 13),
        ("twelve", None),
        ("12/0", None),
        ("", None),
    ],
)
def test_last_number(text, value):
    assert last_number(f"Some 99 steps.\n{text}" if value is not None else text) == value


def test_the_second_opinion_knows_nothing_of_formats():
    assert agrees("so 33.3333", Fraction(100, 3))
    assert not agrees("so 12.1", Fraction(12))
    assert gold_number("-1/2") == Fraction(-1, 2)
    assert gold_number("diagnosis: flu") is None
    assert gold_number(None) is None


@given(number=st.integers(-(10**12), 10**12), words=st.text(alphabet="ab .,\n"))
def test_grouped_or_not_a_number_is_read_as_itself(number, words):
    for written in (f"{number}", f"{number:,}", f"${number}", f"**{number}**", f"{number}."):
        assert last_number(f"{words} {written} {words}") == number


@given(text=st.text(max_size=200))
def test_no_text_is_too_strange(text):
    found = last_number(text)
    assert found is None or isinstance(found, Fraction)


def test_the_end_of_a_long_text_is_read_at_once():
    assert last_number("1" * 1_000_000 + " is 7") == 7
