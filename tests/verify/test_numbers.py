"""The one spelling of a value; what is read at all is in docs/rewards.md and test_numeric.py."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.verify.numbers import canonical_number, spell


@given(st.fractions())
def test_a_spelling_is_read_back_as_the_same_value(value: Fraction) -> None:
    text = spell(value)
    assert Fraction(text) == value
    assert canonical_number(text) == text


@given(st.fractions(max_denominator=10**6), st.fractions(max_denominator=10**6))
def test_equal_spellings_are_equal_values(a: Fraction, b: Fraction) -> None:
    assert (spell(a) == spell(b)) == (a == b)


@pytest.mark.parametrize(
    ("text", "spelling"),
    [
        ("1,080", "1080"),
        ("007.50", "7.5"),
        ("-0", "0"),
        ("2/6", "1/3"),
        ("1 1/2", "1.5"),
        (r"1.8 \times 10^3", "1800"),
        ("18 ½", None),
        ("1/0", None),
        ("1,08", None),
        ("+-3", None),
    ],
)
def test_one_spelling(text: str, spelling: str | None) -> None:
    assert canonical_number(text) == spelling
