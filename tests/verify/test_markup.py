"""Mark-up around an answer comes off; what it separates stays apart."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.verify.markup import EDGE, is_blank, plain, unwrap, without_emphasis


@pytest.mark.parametrize(
    "text",
    [
        "a",
        " a. ",
        "**a**",
        "***a***",
        "_a_",
        "`a`.",
        "$a$",
        "$$a$$",
        r"\(a\)",
        r"\[ a \]",
        r"\boxed{a}",
        r"$\boxed{\boxed{a}.}$",
        r"**$\boxed{a}$**",
        "a\u200b",
        "a。",
    ],
)
def test_unwrapped(text: str) -> None:
    assert unwrap(text) == "a"


def test_marks_inside_do_not_matter() -> None:
    assert unwrap("**x_1 `y`**") == "x_1 `y`"


@pytest.mark.parametrize(
    "text", [r"\boxed{a}\boxed{b}", "$a$ and $b$", r"\(a\) or \(b\)", "**a** **b**", "a*", r"\$a\$"]
)
def test_what_wraps_a_part_stays(text: str) -> None:
    assert unwrap(text) == text


@pytest.mark.parametrize("unit", ["*", "**a", "$", "\\boxed{", "\\[", "(", "a.", "_a_", "`"])
def test_unwrap_is_linear(unit: str) -> None:
    for text in (unit * 10**6, unit * 10**5 + "a" + unit * 10**5):
        start = time.process_time()
        unwrap(text[: 10**6])
        assert time.process_time() - start < 0.05


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("**12** eggs", "12| eggs"),
        ("12 **eggs**", "12 |eggs"),
        (r"\boxed{12} eggs", "12| eggs"),
        (r"12\text{ eggs}", "12| eggs"),
        (r"\textbf{\$12}", "$12"),
        (r"1\frac{1}{2}", "1 1/2"),
        (r"1{,}234\,567", "1,234 567"),
        ("3*4*5", "3*4*5"),
        ("1 *234*", "1 |234"),
        (r"1\phantom{2}3", "1 3"),
        ("`**12**`", "12"),
    ],
)
def test_plain(text: str, shown: str) -> None:
    assert plain(text) == shown.replace("|", EDGE)


@given(st.text(alphabet="0123456789"), st.text(alphabet="*_`$"), st.text(alphabet="0123456789"))
def test_marks_never_join_digits(left: str, marks: str, right: str) -> None:
    if left and marks and right:
        assert left + right not in plain(f"{left}{marks}{right}")


@given(st.text(max_size=60) | st.text(alphabet="\\{}$*_` boxed12tex[]()~,.", max_size=60))
def test_any_text_can_be_read(text: str) -> None:
    assert isinstance(plain(text), str)
    assert isinstance(unwrap(text), str)


def test_emphasis_around_the_whole() -> None:
    assert without_emphasis("**a b**") == "a b"
    assert without_emphasis("**a** b") == "**a** b"
    assert without_emphasis("2 ** 3") == "2 ** 3"


@pytest.mark.parametrize(
    "latex", ["", " ", "~", r"\ ", r"\phantom{\frac{1}{2}}", r"\text{ }", "{}"]
)
def test_blank(latex: str) -> None:
    assert is_blank(latex)


@pytest.mark.parametrize("latex", ["0", r"\pi", r"\phantom{1}2", "-", r"\emptyset"])
def test_not_blank(latex: str) -> None:
    assert not is_blank(latex)
