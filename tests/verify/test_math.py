"""The math verifier: mathematics, and what happens when math-verify does not come back."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlvr.errors import UserError
from rlvr.verify import pool
from rlvr.verify.math import MathVerifier
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
        (r"\boxed{0.5}" + "\nQuestion: next? \\boxed{3}", RIGHT),
        (r"\boxed{\boxed{0.5}}", RIGHT),
        (r"\boxed{0.5", Reason.NO_ANSWER),
        (r"\boxed{}", Reason.NO_ANSWER),
        ("0.5", Reason.NO_ANSWER),
        (None, Reason.NO_ANSWER),
    ],
)
def test_boxed_answers(text: object, reason: Reason) -> None:
    verifier = MathVerifier(answer_prefix=None)
    assert verifier.verify([text], [verifier.canonical("1/2")])[0].reason is reason


@pytest.mark.parametrize("gold", ["", None, [1], True, r"\frac{", "a\nb", "{" * 2000])
def test_bad_gold_is_refused_when_loading(verifier: MathVerifier, gold: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        verifier.canonical(gold)


def test_bad_parameters() -> None:
    with pytest.raises(UserError, match="seconds=0, workers"):
        MathVerifier(seconds=0)


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


def test_a_killed_worker_is_replaced(verifier: MathVerifier) -> None:
    assert verdict(verifier, r"\sqrt{9}", "3").correct
    for worker in list(verifier._pool._workers):
        os.kill(worker._process.pid, signal.SIGKILL)
    assert verdict(verifier, r"\sqrt{16}", "4").correct


def test_a_worker_that_always_dies_is_a_fault_and_not_a_zero(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "dies.py"
    script.write_text("print('{\"ready\": true}', flush=True); input()")
    monkeypatch.setattr(pool, "_SCRIPT", str(script))
    found = MathVerifier().verify([line(r"\sqrt{9}"), line("3")], ["3", "3"])
    assert [(v.reason, v.reward) for v in found] == [(Reason.INFRA_ERROR, None), (RIGHT, 1.0)]


def test_a_worker_that_never_starts_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pool, "_SCRIPT", str(tmp_path / "missing.py"))
    found = MathVerifier().verify([line(r"\sqrt{9}")] * 3, ["3"] * 3)
    assert {(v.reason, v.reward) for v in found} == {(Reason.INFRA_ERROR, None)}


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


def test_a_forked_child_uses_processes_of_its_own(verifier: MathVerifier) -> None:
    assert verdict(verifier, r"\sqrt{25}", "5").correct
    pid = os.fork()
    if pid == 0:
        right = verdict(verifier, r"\sqrt{36}", "6").correct
        os._exit(0 if right else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert verdict(verifier, r"\sqrt{49}", "7").correct


def test_workers_see_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret-token")
    verifier = MathVerifier(workers=1)
    assert verdict(verifier, r"\sqrt{9}", "3").correct
    pid = verifier._pool._workers[0]._process.pid
    assert b"secret-token" not in Path(f"/proc/{pid}/environ").read_bytes()


PARENT = """
import os, sys, threading, time
from rlvr.verify.math import MathVerifier
verifier = MathVerifier(workers=2, seconds=3)
verifier.canonical("x+1")
hangs = ["#### The final answer is 9^{9^{9^9}}"]
threading.Thread(target=verifier.verify, args=(hangs, ["x"])).start()
time.sleep(0.5)
print(*[worker._process.pid for worker in verifier._pool._workers], flush=True)
time.sleep(60)
"""


def _gone(pids: list[int], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(_running(pid) for pid in pids):
            return True
        time.sleep(0.1)
    return False


def _running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_workers_die_with_their_parent() -> None:
    """Even when the parent is killed while one of them hangs in C code."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert pids
    assert all(_running(pid) for pid in pids)
    parent.kill()
    parent.wait()
    assert _gone(pids, seconds=10)


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
