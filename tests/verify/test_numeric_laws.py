"""The numeric verifier's laws: any rendering, any text, linear time."""

import json
import random
import re
import time
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.verify.numbers import canonical_number
from rlvr.verify.numeric import NumericVerifier
from rlvr.verify.verdict import Reason, Verdict

PREFIX = "#### The final answer is"
VERIFIER = NumericVerifier()
RIGHT, WRONG = Reason.CORRECT, Reason.WRONG


def verdict(completion: str, gold: object = "12") -> Verdict:
    return VERIFIER.verify([completion], [VERIFIER.canonical(gold)])[0]


INTEGERS = st.integers(-(10**15), 10**15)
RENDERINGS = [
    str,
    "{:,}".format,
    "{:+d}".format,
    "{}.".format,
    "{}.0".format,
    "{:,}.00".format,
    "**{}**".format,
    "\\boxed{{{:,}}}".format,
    "${}$".format,
    "{} apples".format,
    "{}%".format,
    ": {}".format,
    lambda n: str(n).replace("-", "\u2212"),
    lambda n: f"{n:,}".replace(",", "{,}"),
    lambda n: f"{n:,}".replace(",", " "),
    lambda n: ("-$" if n < 0 else "$") + f"{abs(n):,}",
]
TEXTS = st.text() | st.text(alphabet=f"{PREFIX}\n\r0123456789.,-/$%\\{{}}<think>*^ \u2212").map(
    lambda text: f"{PREFIX} {text}"
)


@given(value=INTEGERS, form=st.sampled_from(RENDERINGS), reasoning=st.text(alphabet="ab 12.,\n"))
def test_gold_in_any_rendering_is_correct(value: int, form: object, reasoning: str) -> None:
    completion = f"{reasoning}\n{PREFIX} {form(value)}"
    assert verdict(completion, value).reason is RIGHT
    assert verdict(completion, value + 1).reason is WRONG


@given(value=st.fractions(max_denominator=10**6))
def test_fractions_are_exact(value: Fraction) -> None:
    assert verdict(f"{PREFIX} {value}", value).reason is RIGHT
    assert Fraction(canonical_number(str(value))) == value


@given(value=st.decimals(allow_nan=False, allow_infinity=False, places=6))
def test_decimals_are_exact(value: Decimal) -> None:
    assert Fraction(canonical_number(format(value, "f"))) == Fraction(value)


@given(text=st.text(max_size=30))
def test_canonical_spelling_is_a_fixed_point(text: str) -> None:
    value = canonical_number(text)
    assert value is None or canonical_number(value) == value


@given(completions=st.lists(TEXTS))
def test_every_completion_gets_one_verdict_and_always_the_same(completions: list[str]) -> None:
    golds = ["12"] * len(completions)
    found = VERIFIER.verify(completions, golds)
    assert len(found) == len(completions)
    assert found == VERIFIER.verify(completions, golds)
    assert all(v.reward in (0.0, 1.0) for v in found)


MARKS = ["{}", "**{}**", "_{}_", "`{}`", "${}$", r"\({}\)", r"\boxed{{{}}}", r"\textbf{{{}}}"]
MARKERS = [
    f"{PREFIX} {{}}",
    f"**{PREFIX}** {{}}",
    f"**{PREFIX} {{}}**",
    "#### **The final answer is:** {}",
]
UNITS = ["", " eggs", "kg", " sq. ft.", "/day", " times", " cookies left over", r"\text{ dollars}"]
OTHERS = [" or {}", "-{}", " to {}", ", {}", " + {}", "*{}", " = {}", " ({})", ":{}", " {}", "^{}"]


@given(
    value=INTEGERS,
    marker=st.sampled_from(MARKERS),
    mark=st.sampled_from(MARKS),
    unit=st.sampled_from(UNITS),
)
def test_mark_up_and_unit_leave_the_value(value: int, marker: str, mark: str, unit: str) -> None:
    completion = marker.format(mark.format(value) + unit)
    assert verdict(completion, value).reason is RIGHT
    assert verdict(completion, value + 1).reason is WRONG


@given(
    value=st.integers(1001, 10**6),
    other=st.integers(10**7, 10**8),
    between=st.sampled_from(OTHERS),
    mark=st.sampled_from(MARKS),
    unit=st.sampled_from(UNITS),
)
def test_two_numbers_are_never_one(
    value: int, other: int, between: str, mark: str, unit: str
) -> None:
    text = mark.format(value) + unit + between.format(other)
    assert not verdict(f"{PREFIX} {text}", value).correct
    assert not verdict(f"{PREFIX} {text}", other).correct


GSM8K = Path(__file__).parents[3] / "shared" / "data" / "gsm8k"


def closing_phrases() -> list[tuple[str, str]]:
    """Gold and phrase: where a solution's last sentence ends in the gold and at most four words."""
    rows = [
        json.loads(line)["answer"].rsplit("####", 1)
        for split in ("train", "test")
        for line in (GSM8K / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    pairs = [(_last_phrase(solution), gold.strip()) for solution, gold in rows]
    return [
        (gold, phrase)
        for phrase, gold in pairs
        if _digits(re.split(r"(?<=[0-9])[^0-9]*$", phrase)[0]) == _digits(gold)
        and len(re.split(r"[0-9]", phrase)[-1].split()) <= 4
    ]


def _last_phrase(solution: str) -> str:
    text = re.sub(r"<<.*?>>", "", solution).strip()
    sentence = re.split(r"(?<=[.!?])\s+|\n", text)[-1]
    numbers = list(re.finditer(r"-?\$?-?(?<![0-9.,])[0-9][0-9,]*(?:\.[0-9]+)?", sentence))
    return sentence[numbers[-1].start() :] if numbers else ""


def _digits(text: str) -> Decimal | None:
    bare = text.replace(",", "").replace("$", "")
    return Decimal(bare) if re.fullmatch(r"-?[0-9]+(?:\.[0-9]+)?", bare) else None


@pytest.mark.skipif(not GSM8K.is_dir(), reason=f"no GSM8K files in {GSM8K}")
def test_the_closing_phrases_of_gsm8k() -> None:
    phrases = closing_phrases()
    assert len(phrases) > 7_000
    found = [verdict(f"{PREFIX} {phrase}", gold) for gold, phrase in phrases]
    refused = [p for (_, p), v in zip(phrases, found, strict=True) if not v.correct]
    assert len(refused) <= 0.005 * len(phrases), refused
    assert {v.reason for v in found} == {RIGHT, Reason.UNPARSEABLE}
    for gold, phrase in phrases:
        assert not verdict(f"{PREFIX} {phrase}", _digits(gold) + 1).correct, phrase


GROWING = [
    "#",
    "1",
    " ",
    "\n",
    "\n\t",
    f"{PREFIX} ",
    f"{PREFIX}\n",
    f"{PREFIX} 12\n",
    "#### \n",
    "####a",
    "<think>",
    "</think>",
    "\\boxed{",
    "1,234,",
    "{",
    "\nQuestion",
    "12 ",
    "*",
    "\u0968",
    "-",
    "\r",
    f"**{PREFIX}** ",
    f"{PREFIX}\n\\[\n",
    "$1$ ",
    "12 eggs ",
    "\\text{",
    "\\(1",
    "_1 ",
    "a.",
]


def seconds(completion: str) -> float:
    times = []
    for _ in range(5):
        start = time.process_time()
        VERIFIER.verify([completion], ["12"])
        times.append(time.process_time() - start)
    return min(times)


@pytest.mark.parametrize("before", ["", f"\n{PREFIX} "])
@pytest.mark.parametrize("unit", GROWING)
def test_time_grows_linearly(unit: str, before: str) -> None:
    small, large = (before + unit * (size // len(unit)) for size in (50_000, 800_000))
    assert seconds(large) < 16 * 4 * max(seconds(small), 5e-4)  # quadratic growth would be 256-fold


@pytest.mark.parametrize("character", ["#", "1"])
@pytest.mark.parametrize("before", ["", f"\n{PREFIX} "])
def test_a_megabyte_of_one_character_costs_under_20_ms(character: str, before: str) -> None:
    assert seconds(before + character * 10**6) < 0.02


def test_a_hundred_thousand_verdicts_a_second() -> None:
    """Asserted at a third of the speed in benchmarks/verifiers.py: test machines are busy."""
    rng = random.Random(0)
    reasoning = "Natalia sold 48 clips in April, then half as many in May. " * 6
    batch = [f"{reasoning}\n{PREFIX} {rng.randrange(10**7)}" for _ in range(5_000)]
    times = []
    for _ in range(3):
        start = time.process_time()
        VERIFIER.verify(batch, ["12"] * len(batch))
        times.append(time.process_time() - start)
    assert len(batch) / min(times) > 33_000
