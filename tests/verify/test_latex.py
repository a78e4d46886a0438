"""What can be said of LaTeX without mathematics."""

import pytest

from rlvr.verify import latex


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"\text{(B)}", "B"),
        (r"\frac{1}{2} x", r"\dfrac{1}{2}x"),
        (r"\left( 1, 2 \right)", "(1,2)"),
        ("x_{1}", "x_1"),
        ("1010_{2}", r"1010_{\text{2}}"),
        (r"1{,}000", "1000"),
        (r"\text{Yes}", "yes"),
        (r"$x$", "x"),
        (r"\phantom{0}x", "x"),
    ],
)
def test_one_spelling(one: str, other: str) -> None:
    assert latex.spelled(latex.tidy(one)) == latex.spelled(latex.tidy(other))


@pytest.mark.parametrize(("one", "other"), [("1 8", "18"), ("B", "b"), ("x", "X"), ("12", "1\\,2")])
def test_different_spellings(one: str, other: str) -> None:
    assert latex.spelled(latex.tidy(one)) != latex.spelled(latex.tidy(other))


@pytest.mark.parametrize(
    "text", [r"\text{even}", "even", "no solution", "No", r"x \text{ is even}"]
)
def test_words(text: str) -> None:
    assert latex.is_words(text) == (text != r"x \text{ is even}")


@pytest.mark.parametrize("text", [r"\sin x", "abc", r"\frac{a}{b}", "2x+3", "log 2", r"\alpha"])
def test_no_words(text: str) -> None:
    assert not latex.is_words(text)


CLEAR = [
    r"2^{10}",
    "2^10+1",
    r"\frac12",
    r"\frac{1}{2}",
    r"\log_2 8",
    r"\log_{10} 100",
    r"\sqrt[3]{8}",
    r"\sin 2x",
    "2x^2y^3",
    r"2\frac{x}{3}",
    r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}",
    r"\begin{array}{cc} 1 \\ 2 \end{array}",
    "(1, 2)",
    r"3! + 2",
    "a_1 + a_2",
    "100",
]
UNCLEAR = [
    "14 4",
    "x 2",
    "(3)6",
    r"\sqrt{9} 6",
    "2^3 4",
    "{1}{8}",
    "1{8}",
    "{18}",
    r"\frac{1}{2}\frac{1}{3}",
    r"2\frac{3}{2}",
    r"\pi 1",
    "x^{2}3",
    r"18 \approx 19",
    r"1, 2, \ldots",
    "1/0",
    r"\frac{1}{0}",
    "{{1}",
    "1}",
    "18?",
    "x_1 2",
]


@pytest.mark.parametrize("text", CLEAR)
def test_one_way_to_read_it(text: str) -> None:
    gold = r"\begin{pmatrix} 1 & 2 \end{pmatrix}"  # a gold with the sign & allows it
    assert latex.is_clear(latex.tidy(text), gold)


@pytest.mark.parametrize("text", UNCLEAR)
def test_more_than_one_way(text: str) -> None:
    assert not latex.is_clear(latex.tidy(text), "18")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (r"\{1, 2\}", (r"\{", ["1", "2"], r"\}")),
        ("(1,2)", ("(", ["1", "2"], ")")),
        ("1,2", ("", ["1", "2"], "")),
        ("(1,2),(3,4)", ("", ["(1,2)", "(3,4)"], "")),
        ("x=1, x=2", ("", ["1", "2"], "")),
        (r"1 \text{ or } 2", ("", ["1", "2"], "")),
        (r"\frac{1}{2}", ("", [r"\frac{1}{2}"], "")),
        ("[1,2)", ("", ["[1,2)"], "")),
        (")1,2(", ("", [")1,2("], "")),
    ],
)
def test_members(text: str, parts: tuple[str, list[str], str]) -> None:
    opening, found, closing = latex.members(text)
    assert (opening, [part.strip() for part in found], closing) == parts


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        (r"5\pi\text{ cm}", r"5\pi"),
        (r"5\pi \text{ square inches}", r"5\pi"),
        (r"5\text{ cm}^2", "5"),
        (r"1 \text{ or } 2", "1 , 2"),
        (r"5\pi\text{ million}", None),
        (r"\pi\text{ is wrong}", None),
        (r"\text{about }\pi", None),
    ],
)
def test_units(text: str, bare: str | None) -> None:
    assert latex.without_units(latex.tidy(text)) == bare


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("x = 5", "5"),
        ("x_1=2, x_2=3", "2,3"),
        ("f(x)=2x", "2x"),
        (r"x \in [1,2]", "[1,2]"),
        ("x=5=5", "x=5=5"),
        ("19=18", "19=18"),
        (r"\pi=3", r"\pi=3"),
    ],
)
def test_names(text: str, bare: str) -> None:
    assert latex.without_names(text) == bare
