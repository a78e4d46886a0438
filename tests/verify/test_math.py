"""The math verifier: mathematics, and what happens when math-verify does not come back."""

import json
import threading
import time

import pytest
from documented import rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlvr.errors import UserError
from rlvr.verify.math import MathVerifier
from rlvr.verify.pool import WorkerPool
from rlvr.verify.verdict import Reason, Verdict

PREFIX = "#### The final answer is"
RIGHT, WRONG, NO_MATH = Reason.CORRECT, Reason.WRONG, Reason.UNPARSEABLE
HANGS = [
    "10^{10^{10^{10}}}",
    "7^{999999999}",
    "99999999!",
    "9^{9^{9^{9}}}",
    r"\binom{100000000}{50000000}",
    r"\dfrac{5^{\left(5^{\left(5^{\left(5^5\right)}\right)}-4\right)}-5}{16}",
]


@pytest.fixture(scope="module")
def verifier() -> MathVerifier:
    return MathVerifier(seconds=20)


@pytest.fixture(scope="module")
def hasty() -> MathVerifier:
    """For inputs that hang: tests need not wait long for the kill."""
    return MathVerifier(seconds=2)


def line(answer: str) -> str:
    return f"Let's think...\n{PREFIX} {answer}"


def verdict(verifier: MathVerifier, answer: str, gold: object) -> Verdict:
    return verifier.verify([line(answer)], [verifier.canonical(gold)])[0]


@pytest.mark.parametrize(
    ("answer", "gold", "reason"),
    [
        ("12", "12", RIGHT),
        ("$1,080.00", "1080", RIGHT),
        ("-12", "12", WRONG),
        (r"\pi/2", r"\frac{\pi}{2}", RIGHT),
        (r"$\frac{\pi}{2}$", r"\boxed{\frac{\pi}{2}}", RIGHT),
        ("(x+1)^2", "x^2+2x+1", RIGHT),
        ("1+x", "$x+1$", RIGHT),
        (r"\sqrt{4}", "2", RIGHT),
        ("2^{10}", "1024", RIGHT),
        ("2^{10}", "2", WRONG),
        (r"\{2,1\}", r"\{1,2\}", RIGHT),
        ("[1,2)", "[1,2]", WRONG),
        ("1-1/e", "1+1/e", WRONG),
        ("3x-y+13=0", "3x+4y+14=0", WRONG),
        (r"\text{even}", r"\text{even}", RIGHT),
        ("even", r"\text{even}", RIGHT),
        ("odd", r"\text{even}", WRONG),
        ("neve", r"\text{even}", WRONG),
        (r"50\%", "50", RIGHT),
        (r"50\%", "0.5", WRONG),
        ("10 or 12", "10", WRONG),
        ("10, 12", "10", WRONG),
        ("not 0", "0", NO_MATH),
        ("0x10", "0", NO_MATH),
        ("12 because I say so", "12", NO_MATH),
        ("12\u00b2", "12", NO_MATH),
        ("1\u0968", "12", NO_MATH),
        ("{" * 200, "12", NO_MATH),
        ("1+" * 5000 + "1", "12", NO_MATH),
    ],
)
def test_answers(verifier: MathVerifier, answer: str, gold: str, reason: Reason) -> None:
    found = verdict(verifier, answer, gold)
    assert (found.reason, found.reward) == (reason, float(reason is RIGHT))
    assert found.format_ok is (reason is not NO_MATH)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (r"So \boxed{\frac{1}{2}}.", RIGHT),
        (r"\boxed{0.5} and again \boxed{\frac12}", RIGHT),
        (r"\boxed{0.5} or \boxed{1}", Reason.MULTIPLE_ANSWERS),
        (r"<think>\boxed{1}</think>\boxed{0.5}", RIGHT),
        (r"\boxed{\phantom{1}} and \boxed{0.5}", RIGHT),
        (r"\boxed{\phantom{0.5}}", Reason.NO_ANSWER),
        (r"\boxed{\boxed{0.5}}", RIGHT),
        (r"\boxed{0.5", Reason.NO_ANSWER),
        (r"\boxed{}", Reason.NO_ANSWER),
        ("0.5", Reason.NO_ANSWER),
    ],
)
def test_boxed_answers(text: str, reason: Reason) -> None:
    verifier = MathVerifier(answer_prefix=None)
    assert verifier.verify([text], [verifier.canonical("1/2")])[0].reason is reason


@pytest.fixture(scope="module")
def boxed() -> MathVerifier:
    return MathVerifier(answer_prefix=None, seconds=20)


def in_box(answer: str) -> str:
    return answer if r"\boxed" in answer else rf"\boxed{{{answer}}}"


@pytest.mark.parametrize(("gold", "paid", "unpaid"), rows("Mathematical answers", "gold"))
def test_the_documented_table(
    boxed: MathVerifier, gold: list[str], paid: list[str], unpaid: list[str]
) -> None:
    answers = [*paid, *unpaid]
    golds = [boxed.canonical(gold[0])] * len(answers)
    found = boxed.verify([f"So {in_box(answer)}." for answer in answers], golds)
    rewards = {answer: v.reward for answer, v in zip(answers, found, strict=True)}
    assert rewards == dict.fromkeys(paid, 1.0) | dict.fromkeys(unpaid, 0.0)


@pytest.mark.parametrize(
    ("gold", "text", "reason"),
    [
        ("1,2,3", r"\boxed{3}, \boxed{1} and \boxed{2}", RIGHT),
        (r"\{\sqrt{2}, 1\}", r"\boxed{1} or \boxed{2^{1/2}}", RIGHT),
        ("x=1, x=2", r"x=\boxed{2} or x=\boxed{1}", RIGHT),
        (r"1 \text{ or } 2", r"\boxed{2}, \boxed{1}", RIGHT),
        ("(1,2),(3,4)", r"\boxed{(3,4)} and \boxed{(1,2)}", RIGHT),
        (r"\text{red}, \text{blue}", r"\boxed{\text{Blue}} and \boxed{\text{red}}", RIGHT),
        ("1,2", r"\boxed{1}, \boxed{2}, \boxed{1}", RIGHT),
        ("1,2", r"\boxed{1}, \boxed{3}", WRONG),
        ("(1,2)", r"\boxed{2}, \boxed{1}", WRONG),
        ("1,2", r"\boxed{1}, \boxed{2}, \boxed{3}", Reason.MULTIPLE_ANSWERS),
        ("12", r"\boxed{12}, \boxed{13}", Reason.MULTIPLE_ANSWERS),
        (r"\frac{1}{2}", r"\boxed{\frac{1}{2}}, \boxed{1}", Reason.MULTIPLE_ANSWERS),
    ],
)
def test_several_boxes(boxed: MathVerifier, gold: str, text: str, reason: Reason) -> None:
    assert boxed.verify([text], [boxed.canonical(gold)])[0].reason is reason


def test_several_answer_lines_are_no_set(verifier: MathVerifier) -> None:
    text = f"{PREFIX} 1\n{PREFIX} 2"
    assert verifier.verify([text], ["1,2"])[0].reason is Reason.MULTIPLE_ANSWERS


def test_a_time_is_a_verdict_and_not_a_fault(boxed: MathVerifier) -> None:
    golds, answers = ["12:00", "12:00", "18", "1:2"], ["1:00", r"12/0", r"\frac{18}{0}", "2:4"]
    found = boxed.verify([in_box(a) for a in answers], golds)
    assert [v.reward for v in found] == [0.0] * 4


def test_tolerance_between_numbers() -> None:
    near = MathVerifier(answer_prefix=None, relative_tolerance=0.01, absolute_tolerance=0.001)
    texts = ["33.5", "x = 33.5", "34", "0.001", "0.0011"]
    golds = ["33.33", "33.33", "33.33", "0", "0"]
    found = near.verify([in_box(text) for text in texts], golds)
    assert [v.correct for v in found] == [True, True, False, True, False]
    assert not MathVerifier(answer_prefix=None).verify([r"\boxed{33.5}"], ["33.33"])[0].correct
    with pytest.raises(UserError, match="absolute_tolerance"):
        MathVerifier(absolute_tolerance=-1)


SEPARATORS = st.sampled_from(
    [" ", r"\,", r"\ ", "=", r"\approx ", "_", ", ", r"\text{ or }", r"\quad "]
)


@settings(max_examples=40, deadline=None)
@given(left=st.integers(1, 99), right=st.integers(0, 99), between=SEPARATORS)
def test_two_numbers_are_never_a_third(
    boxed: MathVerifier, left: int, right: int, between: str
) -> None:
    """Neither of them, nor their sum, product or digits in a row."""
    golds = {left, right, left + right, left * right, int(f"{left}{right}")}
    text = rf"\boxed{{{left}{between}{right}}}"
    found = boxed.verify([text] * len(golds), [str(gold) for gold in golds])
    assert [v.reward for v in found] == [0.0] * len(golds)


@pytest.mark.parametrize(
    "unit", ["*", r"\boxed{1", r"\boxed{1}", "{", "$", "1 ", r"\phantom{", "(("]
)
def test_a_megabyte_costs_linear_time(boxed: MathVerifier, unit: str) -> None:
    for text in (unit * (10**6 // len(unit)), rf"\boxed{{{unit * (10**6 // len(unit))}}}"):
        start = time.process_time()
        boxed.verify([text], ["12"])
        assert time.process_time() - start < 1


@pytest.mark.parametrize("gold", ["", None, [1], True, r"\frac{", "a\nb", "{" * 2000])
def test_bad_gold_is_refused_when_loading(verifier: MathVerifier, gold: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        verifier.canonical(gold)


def test_bad_parameters() -> None:
    with pytest.raises(UserError, match="seconds=0, workers"):
        MathVerifier(seconds=0)


@pytest.mark.slow
def test_hangs_cost_their_deadline_and_the_rest_is_scored(hasty: MathVerifier) -> None:
    good = [r"\pi/2", r"\frac{2\pi}{4}", r"\frac{\pi}{3}"]
    answers = [good[0], *HANGS, *good[1:]]
    start = time.monotonic()
    found = hasty.verify([line(a) for a in answers], [r"\frac{\pi}{2}"] * len(answers))
    assert time.monotonic() - start < 60
    reasons = [v.reason for v in found]
    assert reasons == [RIGHT, *[Reason.TIMEOUT] * len(HANGS), RIGHT, WRONG]
    assert [v.reward for v in found[1:-2]] == [None] * len(HANGS)


def test_a_comparison_is_made_once(hasty: MathVerifier) -> None:
    hasty.verify([line(HANGS[0])], [r"\pi"])
    start = time.monotonic()
    found = hasty.verify([line(HANGS[0])] * 50, [r"\pi"] * 50)
    assert {v.reason for v in found} == {Reason.TIMEOUT}
    assert time.monotonic() - start < 0.5


def test_a_worker_that_does_not_start_is_a_fault_and_not_a_zero() -> None:
    verifier = MathVerifier()
    verifier._pool = WorkerPool("no_such_worker", workers=1, seconds=1)
    found = verifier.verify([line(r"\sqrt{9}"), line("3")], ["3", "3"])
    assert [(v.reason, v.reward) for v in found] == [(Reason.INFRA_ERROR, None), (RIGHT, 1.0)]


def test_a_fault_is_not_remembered(verifier: MathVerifier) -> None:
    working, verifier._pool = verifier._pool, WorkerPool("no_such_worker", workers=1, seconds=1)
    assert verdict(verifier, r"\sqrt{121}", "11").reward is None
    verifier._pool = working
    assert verdict(verifier, r"\sqrt{121}", "11").correct


def test_threads_share_a_verifier(verifier: MathVerifier) -> None:
    found: dict[int, list[Reason]] = {}

    def work(number: int) -> None:
        answers = [rf"\sqrt{{{number * number}}}", rf"\sqrt{{{number * number + 1}}}"]
        verdicts = verifier.verify([line(a) for a in answers], [str(number)] * 2)
        found[number] = [v.reason for v in verdicts]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(20, 28)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: [RIGHT, WRONG] for number in range(20, 28)}


LATEX = st.text(alphabet="0123456789x+-*/^{}()\\ frac sqrt,=$.!", max_size=12)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(answers=st.lists(LATEX | st.text(max_size=20), max_size=4))
def test_every_answer_gets_one_verdict(verifier: MathVerifier, answers: list[str]) -> None:
    completions = [line(answer) for answer in answers]
    found = verifier.verify(completions, ["x+1"] * len(answers))
    assert len(found) == len(answers)
    for v in found:
        assert (v.reward is None) == (v.reason in (Reason.TIMEOUT, Reason.INFRA_ERROR))
    assert json.dumps([v.extracted for v in found])


def test_lengths_must_agree(verifier: MathVerifier) -> None:
    with pytest.raises(ValueError, match="shorter"):
        verifier.verify(["a", "b"], ["1"])
