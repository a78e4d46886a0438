"""What a candidate is paid for, on every sandbox of this machine."""

import time
from collections.abc import Iterator

import pytest

from rlvr.sandbox.backends import Backend
from rlvr.sandbox.choose import probe
from rlvr.sandbox.judging import check_tests, judge_function, judge_program
from rlvr.sandbox.runner import Limits, Sandbox, Task

LIMITS = Limits(seconds=2.0, call_seconds=0.4)
ADD = "def add(a, b): return a + b"


@pytest.fixture(scope="module", params=[b for b in Backend if b is not Backend.none])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    if (found := probe(request.param)) != "works":
        pytest.skip(f"{request.param}: {found}")
    sandbox = Sandbox(request.param, LIMITS)
    yield sandbox
    sandbox.close()


@pytest.mark.parametrize(
    ("code", "tests", "passed", "returned", "failure"),
    [
        (ADD, ["assert add(1, 2) == 3", "assert add('a', b='b') == 'ab'"], 2, True, None),
        (ADD, ["assert add(1, 2) == 3", "assert add(1, 1) == 3"], 1, True, "wrong"),
        (ADD, ["x = add(1, 2)", "assert x == 3", "assert x != 3"], 1, True, "wrong"),
        (ADD, ["for n in range(3):\n  assert add(n, n) == 2 * n"], 1, True, None),
        (ADD, ["assert math.isclose(add(.1, .2), .3)"], 1, True, None),
        ("def add(a, b): return 1", ["assert add(1, 0) == True"], 0, True, "wrong"),
        ("def sub(a, b): return 1", ["assert add(1, 0) == 1"], 0, False, "no_entry_point"),
        ("def add(a, b) return 1", ["assert add(1, 0) == 1"], 0, False, "not_compiled"),
        ("import sys; sys.exit(0)", ["assert add(1, 0) == 1"], 0, False, "exited"),
        ("1 / 0", ["assert add(1, 0) == 1"], 0, False, "not_run"),
        ("def add(a, b): return [0] * 10**11", ["assert add(1, 0) == 1"], 0, False, "memory"),
        ("import os\ndef add(a, b): os.abort()", ["assert add(1, 0) == 1"], 0, False, "crashed"),
        ("import os\ndef add(a, b): os.write(3, b'12345678')", ["assert add(1, 0) == 1"], 0, False,
         "forged"),
        ("def add(a, b): return 'x' * (1 << 21)", ["assert add(1, 0) == 1"], 0, False, "raised"),
        ("def add(a, b): raise ValueError", ["assert add(1, 0) == 1"], 0, False, "raised"),
        (
            "def add(a, b):\n  while a: pass\n  return b",
            ["assert add(1, 0) == 0", "assert add(0, 7) == 7"],
            1,
            True,
            "too_slow",
        ),
        (
            "import os\ndef add(a, b): return a or os._exit(0)",
            ["assert add(0, 0) == 0", "assert add(1, 7) == 1"],
            1,
            True,
            "exited",
        ),
        (
            "class P:\n  def __init__(self, x): self.x = x\ndef add(a, b): return a.x + b.x",
            ["assert add(P(1), P(2)) == 3"],
            1,
            True,
            None,
        ),
        ("from fractions import *\ndef add(a, b): return Fraction(1)",
         ["assert add(1, 0) == 1"], 0, True, "wrong"),
    ],
)  # fmt: skip
def test_a_function_gets_its_share_of_the_tests(
    sandbox: Sandbox, code: str, tests: list[str], passed: int, returned: bool, failure: str | None
) -> None:
    outcome = judge_function(sandbox, Task(code, entry_point="add"), tests)
    assert (outcome.passed, outcome.returned, outcome.failure) == (passed, returned, failure)


def test_helpers_come_from_the_task_and_not_from_the_candidate(sandbox: Sandbox) -> None:
    context = "def half(x): return x / 2"
    cheat = "def half(x): return 0\ndef f(x): return 0"
    task = Task(cheat, context, "f")
    assert judge_function(sandbox, task, ["assert f(4) == half(4)"]).passed == 0
    honest = Task("def f(x): return half(x)", context, "f")
    assert judge_function(sandbox, honest, ["assert f(4) == half(4)"]).passed == 1


def test_nothing_of_one_candidate_reaches_the_next(sandbox: Sandbox) -> None:
    patch = "import math, builtins\nmath.comb = builtins.sum = lambda *a: 7\ndef f(): return 7"
    assert judge_function(sandbox, Task(patch, entry_point="f"), ["assert f() == 7"]).passed == 1
    after = Task("import math\ndef f(): return [math.comb(4, 2), sum([1])]", entry_point="f")
    assert judge_function(sandbox, after, ["assert f() == [6, 1]"]).passed == 1


@pytest.mark.parametrize(
    ("code", "passed", "failure"),
    [
        ("print(2 * int(input()))", 2, None),
        ("print(2 * int(input()), '  \\n')", 2, None),
        ("print(8)", 1, "wrong"),
        ("print(2 * int(input())); print('more')", 0, "wrong"),
        ("import os; print(2 * int(input()), flush=True); os._exit(0)", 2, None),
        ("import sys; print(2 * int(input())); sys.exit(1)", 0, "raised"),
        ("print(2 * int(input())); 1 / 0", 0, "raised"),
        ("print(2 *", 0, "not_compiled"),
        ("while True: pass", 0, "too_slow"),
        ("while True: print('x' * 10000)", 0, "memory"),
        ("import os; os.close(1)\nwhile True: pass", 0, "too_slow"),
        ("import os; os.abort()", 0, "crashed"),
        ("if __name__ == '__main__': print(2 * int(input()))", 2, None),
    ],
)
def test_a_program_must_print_the_output_and_nothing_else(
    sandbox: Sandbox, code: str, passed: int, failure: str | None
) -> None:
    outcome = judge_program(sandbox, code, ["4\n", "-1\n"], ["8\n", "-2"])
    assert (outcome.passed, outcome.failure) == (passed, failure)


@pytest.mark.parametrize("tests", [["assert"], ["f(1)"], []])
def test_tests_that_can_show_nothing_are_refused(tests: list[str]) -> None:
    with pytest.raises(ValueError, match=r"not Python|no test has an assert"):
        check_tests(tests)


def test_a_program_that_fails_is_told_from_one_that_attacks(sandbox: Sandbox) -> None:
    """Signs, how it ended and the time that it took count whatever became of what it printed."""
    tries = "import socket\ntry:\n    socket.socket()\nexcept OSError:\n    pass\n"
    code = f"{tries}while True: print('x' * 100_000)"
    outcome = judge_program(sandbox, code, ["1", "2"], ["1", "2"])
    assert outcome.failure == "memory"
    assert "network" in outcome.signs


def test_inputs_of_a_program_share_its_time(sandbox: Sandbox) -> None:
    code = "import time\ntime.sleep(0.4)\nprint('x' * 2_000_000)"
    began = time.monotonic()
    judge_program(sandbox, code, [""] * 40, ["y"] * 40)
    assert time.monotonic() - began < 2 * sandbox.limits.seconds
