import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.formatting import duration, number, p_value, percent


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-5, "1e-5"),
        (1.84e-4, "1.84e-4"),
        (0.001, "1e-3"),
        (0.04, "0.04"),
        (-0.5, "-0.5"),
        (0.0, "0"),
        (8, "8"),
        (2.0, "2"),
        (1_500_000, "1.5e6"),
        (3.14159, "3.142"),
        (1e300, "1e300"),
    ],
)
def test_number(value: float, text: str):
    assert number(value) == text


@given(st.floats(-1e300, 1e300))
def test_numbers_are_right_to_four_digits(value: float):
    assert float(number(value)) == pytest.approx(value, rel=6e-4, abs=1e-320)


def test_percent_and_p_value():
    assert percent(0.8649) == "86.5"
    assert [p_value(p) for p in (1e-9, 0.0312, 0.0999, 0.5, 1.0)] == [
        "<0.001",
        "0.031",
        "0.100",
        "0.50",
        "1.00",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.42, "0.4s"),
        (45.3, "45s"),
        (59.7, "1m 00s"),
        (185, "3m 05s"),
        (7620, "2h 07m"),
        (100800, "1d 04h"),
    ],
)
def test_duration(seconds: float, text: str):
    assert duration(seconds) == text
