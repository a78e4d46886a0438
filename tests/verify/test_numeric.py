"""The numeric verifier's policy, case by case, and its laws."""

from decimal import Decimal
from fractions import Fraction

import pytest
from documented import rows

from rlvr.errors import UserError
from rlvr.verify.numeric import NumericVerifier
from rlvr.verify.verdict import Reason, Verdict

PREFIX = "#### The final answer is"
VERIFIER = NumericVerifier()


def verdict(completion: str, gold: object = "12", verifier: NumericVerifier = VERIFIER) -> Verdict:
    return verifier.verify([completion], [verifier.canonical(gold)])[0]


def answer(text: str, gold: object = "12") -> Reason:
    return verdict(f"Let's think...\n{PREFIX} {text}", gold).reason


RIGHT, WRONG = Reason.CORRECT, Reason.WRONG
NONE, MANY, NO_NUMBER = Reason.NO_ANSWER, Reason.MULTIPLE_ANSWERS, Reason.UNPARSEABLE

# The numbers are those of the known defects of the reference recipe's rewards.
ANSWER_LINES = [
    (1, "-12", "-12", RIGHT),
    (2, "-12", "12", WRONG),
    (3, "\u221212", "-12", RIGHT),
    (3, "-$12", "-12", RIGHT),
    (3, "$-12", "-12", RIGHT),
    (4, ".5", "0.5", RIGHT),
    (4, ".5", "5", WRONG),
    (5, "$12", "12", RIGHT),
    (5, "$ 12", "12", RIGHT),
    (5, "\u20ac12", "12", RIGHT),
    (5, "$12.50", "12.5", RIGHT),
    (6, r"\boxed{12}", "12", RIGHT),
    (6, "**12**", "12", RIGHT),
    (6, "$12$", "12", RIGHT),
    (6, ": 12", "12", RIGHT),
    (7, "1/2", "0.5", RIGHT),
    (7, "1/2", "1", WRONG),
    (7, "12/5", "12", WRONG),
    (8, r"$\frac{1}{2}$", "0.5", RIGHT),
    (8, r"$\frac{1}{2}$", "1", WRONG),
    (9, "1 1/2", "1.5", RIGHT),
    (9, "3 7/2", "6.5", NO_NUMBER),
    (10, "50%", "0.5", WRONG),
    (10, "50%", "50", RIGHT),
    (10, "50 percent", "50", RIGHT),
    (10, r"50\%", "50", RIGHT),
    (10, "12g", "12", RIGHT),
    (11, "1 234", "1234", RIGHT),
    (11, "1_234", "1234", RIGHT),
    (11, "1'234", "1234", RIGHT),
    (12, "1,2,3", "123", NO_NUMBER),
    (13, "10, 12", "10", NO_NUMBER),
    (13, "10,12", "1012", NO_NUMBER),
    (14, "10-12", "10", NO_NUMBER),
    (14, "10 or 12", "10", NO_NUMBER),
    (14, "3:4", "3", NO_NUMBER),
    (14, "3:30", "3", NO_NUMBER),
    (15, "3+4", "3", NO_NUMBER),
    (15, "3 * 4 = 12", "3", NO_NUMBER),
    (15, "3 * 4 = 12", "12", NO_NUMBER),
    (16, "1.2e3", "1.2", WRONG),
    (16, "1.2e3", "1200", RIGHT),
    (17, "2^{10}", "2", NO_NUMBER),
    (17, "1.5 million", "1.5", NO_NUMBER),
    (17, "12\u00b2", "12", NO_NUMBER),
    (18, "1.2.3", "1.2", NO_NUMBER),
    (18, "12abc", "12", NO_NUMBER),
    (18, "0x10", "0", NO_NUMBER),
    (19, "1\u0968", "12", NO_NUMBER),
    (19, "\uff11\uff12", "12", NO_NUMBER),
    (19, "\u0661\u0662", "12", NO_NUMBER),
    (20, "12 13 14 15", "12", NO_NUMBER),
    (29, "9" * 400, "9" * 400, RIGHT),
    (29, "9" * 400, "9" * 399 + "8", WRONG),
    (30, "9007199254740993", "9007199254740992", WRONG),
    (31, "0.0005", "0.0009", WRONG),
    (31, "0", "0.0009", WRONG),
    (31, "12.001", "12", WRONG),
    (31, "33.33", "33.3333", WRONG),
    (32, "1,000", "1,000", RIGHT),
    (32, "12", "$12", RIGHT),
    (38, "0", "12", WRONG),
]


@pytest.mark.parametrize(("defect", "text", "gold", "reason"), ANSWER_LINES)
def test_answer_line(defect: int, text: str, gold: str, reason: Reason) -> None:
    assert answer(text, gold) is reason, defect


COMPLETIONS = [
    (20, f"\n{PREFIX} 12\n{PREFIX} 13\n{PREFIX} 14", MANY),
    (21, f"\n{PREFIX} 12\nWait, wrong.\n{PREFIX} 15", MANY),
    (22, f"<think>{PREFIX} 12</think>{PREFIX} 15", WRONG),
    (22, f"<think>\n{PREFIX} 15\n</think>\n{PREFIX} 12", RIGHT),
    (22, f"<think>\n{PREFIX} 12", NONE),
    (23, "#### I do not know. Perhaps 12?", NONE),
    (23, f"{PREFIX} not 12", NO_NUMBER),
    (24, f"#### Step 1: add\n{PREFIX} 12", RIGHT),
    (25, "##### The final answer is 12", NONE),
    (25, "#### 12", NONE),
    (25, "####12", NONE),
    (25, "I say #### The final answer is 12", NONE),
    (26, f"{PREFIX} 12", RIGHT),
    (26, "\n####\u00a0The final answer is\u00a012", RIGHT),
    (26, "\n####  The  final answer is  12", RIGHT),
    (26, f"words\r{PREFIX} 12\r", RIGHT),
    (26, f"words\r\n{PREFIX} 12\r\n", RIGHT),
    (26, f"\n  {PREFIX} 12", RIGHT),
    (26, f"\n{PREFIX.lower()} 12", RIGHT),
    (27, f"\n{PREFIX}\n12", RIGHT),
    (27, f"\n{PREFIX}\n\n  12\n13", RIGHT),
    (27, f"\n{PREFIX}\n{PREFIX} 12", RIGHT),
    (27, f"\n{PREFIX}", NONE),
    (None, f"{PREFIX} 12\n{PREFIX} 12.0\n", RIGHT),
    (None, f"{PREFIX} 12\n{PREFIX} not 12\n", MANY),
    (None, f"{PREFIX} 12\nand that is that.", RIGHT),
    (None, f"{PREFIX} 12\x00", RIGHT),
    (None, "", NONE),
    (None, "   \n ", NONE),
    (None, "\x00\x01\ud800\uffff" * 100, NONE),
    (None, "\u4f60\u597d \u0645\u0631\u062d\u0628\u0627 \u0939\u093f", NONE),
    (None, f"{PREFIX} twelve", NO_NUMBER),
    (None, f"{PREFIX} ,,,", NO_NUMBER),
    (None, f"{PREFIX} inf", NO_NUMBER),
    (None, f"{PREFIX} nan", NO_NUMBER),
    (None, f"{PREFIX} 1/0", NO_NUMBER),
    (None, f"{PREFIX} {'1' * 1001}", NO_NUMBER),
]


@pytest.mark.parametrize(("defect", "completion", "reason"), COMPLETIONS)
def test_completion(defect: int | None, completion: str, reason: Reason) -> None:
    found = verdict(completion)
    assert found.reason is reason, defect
    assert found.reward == (1.0 if reason is RIGHT else 0.0)
    assert found.format_ok is (reason in (RIGHT, WRONG))


@pytest.mark.parametrize(
    "gold", ["", "twelve", "#### 12", "nan", "inf", None, [12], True, float("nan")]
)
def test_bad_gold_is_refused_when_loading(gold: object) -> None:  # defects 33 and 34
    with pytest.raises(ValueError, match="number"):
        VERIFIER.canonical(gold)


@pytest.mark.parametrize(
    ("gold", "canonical"),
    [
        ("1,080", "1080"),
        ("-3", "-3"),
        ("$12", "12"),
        (0.1, "0.1"),
        (7, "7"),
        ("1/3", "1/3"),
        ("2/4", "0.5"),
        (Fraction(1, 8), "0.125"),
        (Decimal("1.50"), "1.5"),
        ("-0", "0"),
    ],
)
def test_canonical_gold(gold: object, canonical: str) -> None:
    assert VERIFIER.canonical(gold) == canonical


def test_lengths_must_agree() -> None:  # defect 36
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        VERIFIER.verify(["a", "b", "c"], ["1"])


def test_a_bad_gold_never_becomes_a_zero() -> None:
    found = VERIFIER.verify([f"{PREFIX} 12"], ["twelve"])[0]
    assert (found.reward, found.reason) == (None, Reason.INFRA_ERROR)


@pytest.mark.parametrize(("completions", "reason"), rows("Numeric answers", "completion"))
def test_the_documented_completions(completions: list[str], reason: list[str]) -> None:
    for completion in completions:
        assert verdict(completion).reason == reason[0], completion


@pytest.mark.parametrize(("what", "read", "value", "refused"), rows("Numeric answers", ""))
def test_the_documented_answers(
    what: list[str], read: list[str], value: list[str], refused: list[str]
) -> None:
    for text in read:
        assert answer(text, value[0]) is RIGHT, text
        assert answer(text, Fraction(value[0]) + 1) is WRONG, text
    for text in refused:
        assert answer(text, value[0]) is NO_NUMBER, text


@pytest.mark.parametrize(
    "text",
    [
        "12 apples",
        "12 miles per hour",
        "12 km/h",
        "12cm",
        r"12\text{ dollars}",
        r"12 \text{cm}^2",
        r"12^\circ",
        "12\u20ac",
        "12 US dollars",
        "12%.",
        "12 more apples",
        "$12 per day",
        r"\$12",
        r"\(12\)",
        "+12",
        "12.",
        "12.00",
        "0012",
        "**$12**.",
        "`12`",
        r"$\boxed{12}$",
        "1.2e1",
        "36/3",
        r"\frac{24}{2}",
    ],
)
def test_surface_forms_of_twelve(text: str) -> None:
    assert answer(text) is RIGHT


@pytest.mark.parametrize(
    "text",
    [
        "12 and a half",
        "12 dozen",
        "12 thousand",
        "12 pi",
        "12x",
        "12 x",
        "12 or more",
        "12!",
        "12?",
        "12 is wrong",
        "12k",
        "12 million",
        "(12)",
        "- 12",
        "12-",
        "12th",
        "12 thirds",
        "#12",
        "~ 12 ~ 13",
        "about 12",
        "x = 12",
        "12 point five",
        "12, 12",
        "$12 and 50 cents",
        "12 {13}",
        "12,5",
    ],
)
def test_texts_that_are_not_twelve(text: str) -> None:
    assert answer(text) is NO_NUMBER


def test_tolerance_is_declared() -> None:
    near = f"{PREFIX} 33.33"
    assert verdict(near, "33.3333").reason is WRONG
    relative = NumericVerifier(relative_tolerance=1e-3)
    assert verdict(near, "33.3333", relative).reason is RIGHT
    assert verdict(near, "33.4", relative).reason is WRONG
    absolute = NumericVerifier(absolute_tolerance=0.01)
    assert verdict(near, "33.34", absolute).reason is RIGHT
    assert verdict(near, "33.341", absolute).reason is WRONG


@pytest.mark.parametrize("value", [-1, float("nan"), "0.1", True])
def test_bad_tolerance(value: object) -> None:
    with pytest.raises(UserError, match="relative_tolerance"):
        NumericVerifier(relative_tolerance=value)


def test_own_prefix() -> None:
    verifier = NumericVerifier(answer_prefix="Answer:")
    assert verdict("so\nANSWER: 12", "12", verifier).reason is RIGHT
    with pytest.raises(UserError, match="answer_prefix"):
        NumericVerifier(answer_prefix=" ")
