"""The judge, outside of the sandbox: runs a task's tests against a candidate inside.

Tests are the dataset's own code, which is trusted. They run here, where a call of the candidate's
function is a message to the sandbox, so expected values and the comparison never go inside.
"""

import ast
import builtins
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from rlvr.sandbox import values
from rlvr.sandbox.runner import CandidateError, Execution, Sandbox, Task

EQUAL = "_equal"


@dataclass
class Outcome:
    """What became of a candidate: `failure` is the kind of what it failed at first, with `why`.

    `returned` says that a call came back with a value, or a program ended without an error.
    """

    total: int
    passed: int = 0
    returned: bool = False
    failure: str | None = None
    why: str = ""

    def fail(self, failure: str, why: object) -> None:
        if self.failure is None:
            self.failure, self.why = failure, str(why)[:300]


def check_tests(tests: Sequence[str], context: str = "") -> None:
    """ValueError where the tests of a task are not Python, or assert nothing of a candidate."""
    try:
        ast.parse(context)
        steps = [_step(source) for source in tests]
    except SyntaxError as error:
        raise ValueError(f"a test is not Python: {error}") from None
    if not any(step.counts for step in steps):
        raise ValueError("no test has an assert")
    if empty := next((step.shown for step in steps if step.counts and not step.names), None):
        raise ValueError(f"a test passes whatever the candidate does: {empty}")


def judge_function(sandbox: Sandbox, task: Task, tests: Sequence[str]) -> Outcome:
    """Run `tests`, Python statements in order that share their names; those with an assert count.

    A candidate that ends or hangs in one test meets the next one in a new process.
    """
    steps = [_step(source) for source in tests]
    outcome = Outcome(sum(step.counts for step in steps))
    candidate = _Candidate(task, outcome)
    seconds = sandbox.limits.seconds
    while steps and seconds > 0:
        with sandbox.execution(seconds=seconds) as execution:
            try:
                execution.begin(task)
            except CandidateError as error:
                compiled = error.kind != "not_compiled"
                outcome.fail("not_run" if compiled else "not_compiled", error)
                return outcome
            candidate.execution = execution
            while steps and not execution.is_gone:
                _run(steps.pop(0), candidate, outcome)
            seconds = execution.seconds_left()
    if steps:
        outcome.fail("too_slow", f"it took longer than {sandbox.limits.seconds:g} seconds")
    return outcome


def _run(step: "_Step", candidate: "_Candidate", outcome: Outcome) -> None:
    candidate.last = None
    try:
        candidate.provide(step.names)
        exec(step.code, candidate.names)
        outcome.passed += step.counts
    except CandidateError as error:
        outcome.fail(error.kind, f"{step.shown}: {error}")
    except AssertionError:
        outcome.fail("wrong", f"{step.shown}: it returned {candidate.shown()}")
    except Exception as error:  # of a test that stumbles over what the candidate returned
        outcome.fail("wrong", f"{step.shown}: {type(error).__name__}, for {candidate.shown()}")


def judge_program(
    sandbox: Sandbox, code: str, inputs: Sequence[str], outputs: Sequence[str]
) -> Outcome:
    """Run a program once for each input; what it prints must be the output, to the last line.

    White space at the end of lines and empty lines at the end do not count.
    """
    outcome = Outcome(len(inputs))
    seconds = sandbox.limits.seconds
    for number, (given, expected) in enumerate(zip(inputs, outputs, strict=True), 1):
        try:
            printed, exit_code, seconds = _printed(sandbox, code, given, seconds)
        except CandidateError as error:
            outcome.fail(error.kind, f"input {number}: {error}")
            if error.kind in ("not_compiled", "too_slow"):
                break
            continue
        if exit_code:
            outcome.fail("raised", f"input {number}: it ended with exit code {exit_code}")
            continue
        outcome.returned = True
        if _lines(printed) == _lines(expected):
            outcome.passed += 1
        else:
            outcome.fail("wrong", f"input {number}: it printed {printed[:80]!a}")
    return outcome


def _printed(
    sandbox: Sandbox, code: str, given: str, seconds: float
) -> tuple[str, int | None, float]:
    """What a program prints, its exit code, and the seconds that are left."""
    source = os.memfd_create("input")
    reader, writer = os.pipe()
    with open(reader, "rb"), open(writer, "wb") as output, open(source, "w+b", 0) as text:
        text.write(given.encode(errors="surrogatepass"))
        text.seek(0)
        with sandbox.execution((source, writer), seconds) as execution:
            output.close()  # so that the end of the program is the end of what it prints
            execution.begin(Task(code))
            printed = execution.output(reader)
    shown = printed.decode(errors="backslashreplace")
    return shown, execution.exit_code, execution.seconds_left()


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().split("\n")]


class _Step:
    """One test: compiled once, with our comparison instead of Python's."""

    def __init__(self, source: str) -> None:
        tree = ast.parse(source)
        self.counts = any(isinstance(node, ast.Assert) for node in ast.walk(tree))
        self.shown = " ".join(source.split())[:120]
        self.names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        self.code = compile(ast.fix_missing_locations(_Strict().visit(tree)), "test", "exec")


@lru_cache(maxsize=1024)
def _step(source: str) -> _Step:
    """A group of completions has the tests in common."""
    return _Step(source)


class _Strict(ast.NodeTransformer):
    """`a == b` becomes `_equal(a, b)`."""

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        self.generic_visit(node)
        if len(node.ops) != 1 or not isinstance(node.ops[0], ast.Eq | ast.NotEq):
            return node
        sides = [node.left, node.comparators[0]]
        called = ast.Call(ast.Name(EQUAL, ast.Load()), sides, [])
        return ast.UnaryOp(ast.Not(), called) if isinstance(node.ops[0], ast.NotEq) else called


class _Candidate:
    """The candidate as tests see it: functions that ask whatever process runs it now."""

    def __init__(self, task: Task, outcome: Outcome) -> None:
        self._entry_point, self._outcome = str(task.entry_point), outcome
        self.execution: Execution | None = None
        self.names: dict[str, Any] = {"__name__": "test", EQUAL: values.equal}
        exec(compile(task.context, "context", "exec", dont_inherit=True), self.names)
        self.names[self._entry_point] = self._function(self._entry_point)
        self.last: object = None

    def provide(self, wanted: set[str]) -> None:
        """Names that the task has not: modules, and functions of the candidate's own."""
        for name in wanted - self.names.keys():
            if name in sys.stdlib_module_names:
                self.names[name] = importlib.import_module(name)
            elif not hasattr(builtins, name):
                self.names[name] = self._function(name)

    def shown(self) -> str:
        try:
            return ascii(self.last)[:100]
        except ValueError:  # an integer of more digits than Python writes
            return f"a long {type(self.last).__name__}"

    def _function(self, name: str) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            assert self.execution is not None
            self.last = self.execution.call(name, args, kwargs)
            if name == self._entry_point:
                self._outcome.returned = True
            return self.last

        return call
