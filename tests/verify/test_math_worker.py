"""What math-verify is asked, in this process and through the pool."""

import subprocess
import sys

import pytest

from rlvr.verify.math_worker import compare, start
from rlvr.verify.pool import WorkerPool


@pytest.mark.parametrize(
    ("gold", "answer", "reply"),
    [
        (r"\frac{\pi}{2}", r"\pi/2", {"equal": True}),
        (r"\frac{\pi}{2}", r"\pi/3", {"equal": False}),
        ("x^2+2x+1", "(x+1)^2", {"equal": True}),
        (r"\{1,2\}", r"\{2,1\}", {"equal": True}),
        (r"\sqrt{2}", None, {"parsed": True}),
        (r"\frac{", r"\pi", {"unparseable": "gold"}),
        (r"\frac{", None, {"unparseable": "gold"}),
        (r"\pi", r"\frac{", {"unparseable": "answer"}),
        (r"\pi", "", {"unparseable": "answer"}),
    ],
)
def test_replies(gold: str, answer: str | None, reply: dict[str, object]) -> None:
    assert compare({"gold": gold, "answer": answer}) == reply


@pytest.mark.parametrize("text", [r"\pi} or 2", r"\pi}+{5", r"\pi}\{"])
def test_what_closes_a_brace_it_did_not_open_is_not_read_as_its_beginning(text: str) -> None:
    assert compare({"gold": r"\pi", "answer": text}) == {"unparseable": "answer"}
    assert compare({"gold": text, "answer": r"\pi"}) == {"unparseable": "gold"}


def test_the_pool_gets_the_same_replies() -> None:
    requests = [
        {"gold": r"\pi", "answer": r"\pi"},
        {"gold": r"\frac{", "answer": None},
        {"gold": "3", "answer": r"\sqrt{9}"},
    ]
    pool = WorkerPool("rlvr.verify.math_worker", workers=1, seconds=20)
    assert pool.ask(requests) == [start()(request) for request in requests]


def test_a_fault_of_math_verify_is_an_error_and_no_verdict() -> None:
    pool = WorkerPool("rlvr.verify.math_worker", workers=1, seconds=20)
    reply = pool.ask([{"gold": "x", "answer": 5}])[0]
    assert reply["error"].startswith("TypeError")


def test_it_loads_nothing_heavy() -> None:
    """A worker is started again after each kill, and holds its memory as long as the run."""
    code = (
        "import sys, rlvr.verify.math_worker as w; w.start(); "
        "print(*sorted({'torch', 'transformers', 'hydra', 'omegaconf'} & set(sys.modules)))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == ""
