"""The worker of the code verifier, as the pool speaks to it."""

from dataclasses import asdict

from rlvr.sandbox.choose import choose
from rlvr.sandbox.runner import Limits
from rlvr.verify.pool import WorkerPool

FUNCTION = {
    "code": "def f(x): return x",
    "entry_point": "f",
    "context": "",
    "tests": ["assert f(1) == 1"],
    "shown": None,
}
PROGRAM = {**FUNCTION, "code": "print(input())", "entry_point": None, "tests": None}


def pool(backend: str) -> WorkerPool:
    settings = {"backend": backend, "limits": asdict(Limits(seconds=2.0))}
    return WorkerPool("rlvr.verify.code_worker", workers=1, seconds=8, settings=settings)


def test_it_judges_functions_and_programs() -> None:
    asked = [
        {**FUNCTION, "stdin": None, "stdout": None},
        {**PROGRAM, "stdin": ["a", "b"], "stdout": ["a", "c"]},
    ]
    function, program = pool(choose("auto", False).backend).ask(asked)
    assert (function["passed"], function["total"]) == (1, 1)
    assert (program["passed"], program["total"]) == (1, 2)


def test_a_sandbox_that_is_none_is_an_infrastructure_error() -> None:
    assert pool("no such backend").ask([{**FUNCTION, "stdin": None}]) == ["infra_error"]
