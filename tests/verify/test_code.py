"""One verdict per completion, from one execution; nothing of it in the trainer's process."""

import time

import pytest

from rlvr.errors import UserError
from rlvr.verify import pool
from rlvr.verify.code import CodeVerifier, extract
from rlvr.verify.judge import Begun
from rlvr.verify.judge import judge as judge_all
from rlvr.verify.verdict import OUTCOMES, Execution, Failure, Reason, Verdict

GOOD = "def f(x): return x + 1"
TESTS = ["assert f(1) == 2", "assert f(2) == 3"]


@pytest.fixture(scope="module")
def verifier() -> CodeVerifier:
    return CodeVerifier(workers=4, seconds=1.5, call_seconds=0.5)


def judge(verifier: CodeVerifier, *texts: str) -> list[Verdict]:
    count = len(texts)
    columns = {"entry_point": ["f"] * count, "tests": [TESTS] * count}
    return verifier.verify(texts, [""] * count, **columns)


def test_the_ladder(verifier: CodeVerifier) -> None:
    found = judge(
        verifier,
        "```python\ndef f(x): return x + 1\n```",
        "def f(x): return 2",
        "def f(x): return 0",
        "def f(x): return 1 / 0",
        "def g(x): return x + 1",
        "# nothing",
        "def f(x) return",
        "",
        "x" * 200_000,
        "def f(x): return '\ud800'",
    )
    assert [(v.reward, v.format_ok, v.reason.value) for v in found] == [
        (1.0, True, "correct"),
        (0.5, True, "partial"),
        (0.0, True, "wrong"),
        (0.0, False, "run_error"),
        (0.0, False, "run_error"),
        (0.0, False, "run_error"),
        (0.0, False, "unparseable"),
        (0.0, False, "no_answer"),
        (0.0, False, "unparseable"),
        (0.0, False, "unparseable"),
    ]
    assert found[1].extracted == "assert f(2) == 3: it returned 2"


def test_what_became_of_the_code_is_told(verifier: CodeVerifier) -> None:
    codes = {
        "def f(x): return x + 1": "passed",
        "def f(x): return 2": "wrong",
        "def f(x): return 1 / 0": "raised",
        "def f(x): return [0] * 10**11": "memory",
        "import os\ndef f(x): os._exit(0)": "exited",
        "import os\ndef f(x): os.abort()": "crashed",
        "import os\ndef f(x): os.write(3, b'12345678')": "forged",
        "def f(x):\n  while True: pass": "too_slow",
        "def g(x): return x + 1": "no_entry_point",
        "import numpy": "not_run",
        "def f(x) return": "not_compiled",
        "": "no_code",
    }
    shown = [[True, False]] * len(codes)
    columns = {"entry_point": ["f"] * len(codes), "tests": [TESTS] * len(codes), "shown": shown}
    found = [v.execution for v in verifier.verify([*codes], [""] * len(codes), **columns)]
    assert {e.code: e.outcome for e in found if e} == codes
    assert {e.outcome for e in found if e} == {*OUTCOMES} - {"infra_error"}
    passed, wrong = found[:2]
    assert passed == Execution("passed", "def f(x): return x + 1", (1, 1), (1, 1))
    failure = Failure("assert f(2) == 3", "f(2)", "3", "2")
    assert wrong == Execution("wrong", "def f(x): return 2", (1, 1), (0, 1), failure)


def test_what_is_kept_of_a_verdict_is_bounded(verifier: CodeVerifier) -> None:
    (found,) = judge(verifier, "def f(x): return 'y' * 100_000\n" + "# filler\n" * 10_000)
    assert found.execution
    assert len(str(found.execution)) < 6_000


def test_programs_that_hang_cost_their_deadline_once(verifier: CodeVerifier) -> None:
    texts = ["def f(x):\n  while True: pass"] * 3 + ["def f(x): return x + 1"] * 9
    began = time.monotonic()
    found = judge(verifier, *texts)
    assert time.monotonic() - began < 1.5 * 1.5 + 2
    assert [v.reward for v in found] == [0.0] * 3 + [1.0] * 9


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        (Reason.INFRA_ERROR, Verdict(None, Reason.INFRA_ERROR)),
        ({"error": "MemoryError"}, Verdict(None, Reason.INFRA_ERROR)),
        (
            Reason.TIMEOUT,
            Verdict(0.0, Reason.RUN_ERROR, "the test did not end on what it returned"),
        ),
    ],
)
def test_a_failure_that_is_ours_is_never_a_zero(
    verifier: CodeVerifier, monkeypatch: pytest.MonkeyPatch, reply: object, verdict: Verdict
) -> None:
    monkeypatch.setattr(verifier._pool, "_answer", lambda request, over: reply)
    (found,) = judge(verifier, "def f(x): return x + 1")
    assert (found.reward, found.reason, found.extracted) == (
        verdict.reward,
        verdict.reason,
        verdict.extracted,
    )


@pytest.mark.parametrize(
    ("errors", "reason"),
    [
        ([TimeoutError, TimeoutError], Reason.RUN_ERROR),
        ([EOFError, EOFError], Reason.INFRA_ERROR),
        ([TimeoutError, EOFError], Reason.INFRA_ERROR),
        ([EOFError, TimeoutError], Reason.INFRA_ERROR),
        ([TimeoutError], Reason.CORRECT),
        ([EOFError], Reason.CORRECT),
    ],
)
def test_a_worker_that_dies_and_a_judge_that_is_late_are_asked_again(
    monkeypatch: pytest.MonkeyPatch, errors: list[type[Exception]], reason: Reason
) -> None:
    asks = pool._Worker.ask

    def failing(worker: pool._Worker, request: dict[str, object], seconds: float) -> object:
        if errors and "code" in request:
            raise errors.pop(0)
        return asks(worker, request, seconds)

    monkeypatch.setattr(pool._Worker, "ask", failing)
    assert judge(CodeVerifier(workers=1), GOOD)[0].reason is reason
    assert errors == []


def test_verdicts_are_the_same_if_completions_come_one_by_one(verifier: CodeVerifier) -> None:
    texts = ["def f(x): return x + 1", "def f(x): return 2", "", "while True: pass", "def f("] * 2
    rows = [{"prompt": "?", "gold": "", "entry_point": "f", "tests": TESTS}] * len(texts)
    with Begun(verifier, rows) as begun:
        for number in (3, 8, 0, 9, 4, 2):
            begun.add(number, texts[number])
        assert judge_all(verifier, rows, texts, begun) == judge_all(verifier, rows, texts)


def test_what_has_begun_is_left_when_sampling_fails(verifier: CodeVerifier) -> None:
    row = {"prompt": "?", "gold": "", "entry_point": "f", "tests": TESTS}
    began = time.monotonic()

    def sampled() -> None:
        with Begun(verifier, [row] * 40) as begun:
            for number in range(40):
                begun.add(number, "while True: pass")
            time.sleep(0.2)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sampled()
    assert time.monotonic() - began < 1.5
    assert judge(verifier, GOOD)[0].correct


def test_rows_that_are_no_code_tasks_are_refused(verifier: CodeVerifier) -> None:
    with pytest.raises(UserError, match="entry_point and tests, or stdin and stdout"):
        verifier.verify(["def f(): pass"], ["x"], question=["?"])
    with pytest.raises(UserError, match="memory_mb=1"):
        CodeVerifier(memory_mb=1)


@pytest.mark.parametrize(
    ("completion", "code"),
    [
        ("x = 1", "x = 1"),
        ("Here:\n```python\nx = 1\n```\nDone.", "x = 1\n"),
        ("```\nx = 1\n```\nbetter:\n```py\nx = 2\n```", "x = 2\n"),
        ("```python\nx = 1", "x = 1"),
        ("x = 1\n```\nThat was it.", "x = 1\n"),
        ("x = 1\n```\nor\n```python\nx = 2\n```", "x = 2\n"),
        ("<think>```python\nx = 0\n```</think>x = 1", "x = 1"),
        ("```python\n```", ""),
    ],
)
def test_the_last_block_is_the_code(completion: str, code: str) -> None:
    assert extract(completion) == code
