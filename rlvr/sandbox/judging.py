"""The judge, outside of the sandbox: runs a task's tests against a candidate inside.

Tests are the dataset's own code, which is trusted. They run here, where a call of the candidate's
function is a message to the sandbox, so expected values and the comparison never go inside.
"""

import ast
import builtins
import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from rlvr.sandbox import values, watch
from rlvr.sandbox.gaming import TEXT_SIGNS, Case, literal_case, text_signs
from rlvr.sandbox.runner import CandidateError, Execution, Sandbox, Task

EQUAL = "_equal"
SIGNS = (*watch.SIGNS, "exited", "forged", *TEXT_SIGNS)
LONGEST = 300  # characters of a test, a value or a reason


@dataclass
class Outcome:
    """What became of a candidate: `failure` is the kind of what it failed at first, with `why`.

    `returned` says that a call came back with a value, or a program ended without an error.
    `test`, `given`, `expected` and `got` are of the first failure. `shown_total` and `shown_passed`
    count the tests that the prompt shows. `signs` are those of an attack on the verdict.
    """

    total: int
    passed: int = 0
    shown_total: int = 0
    shown_passed: int = 0
    returned: bool = False
    failure: str | None = None
    why: str = ""
    test: str = ""
    given: str | None = None
    expected: str | None = None
    got: str | None = None
    signs: list[str] = field(default_factory=list)

    def fail(self, failure: str, why: object, **what: str | None) -> None:
        """`what` it failed: `test`, `given`, `expected`, `got`."""
        if failure in SIGNS:
            self.see(failure)
        if self.failure is None:
            self.failure, self.why = failure, _cut(str(why))
            for name, text in what.items():
                setattr(self, name, None if text is None else _cut(text))

    def see(self, *signs: str) -> None:
        self.signs += [sign for sign in signs if sign not in self.signs]

    def learn(self, execution: Execution) -> None:
        """What is known of the process of a function when it is over."""
        self.see(*execution.signs)
        if not execution.has_ended or execution.exit_code is None:
            return
        how = _how_ended(execution.exit_code)
        if how in SIGNS:
            self.see(how)
        if self.failure == "died":
            self.failure = how


def _how_ended(exit_code: int) -> str:
    if exit_code >= 0:
        return "exited"
    return "too_slow" if -exit_code in (signal.SIGKILL, signal.SIGXCPU) else "crashed"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 2]} …"


def check_tests(tests: Sequence[str], context: str = "") -> None:
    """ValueError where the tests of a task are not Python, or assert nothing of a candidate."""
    try:
        ast.parse(context)
        steps = [_step(source) for source in tests]
    except SyntaxError as error:
        raise ValueError(f"a test is not Python: {error}") from None
    if not any(step.counts for step in steps):
        raise ValueError("no test has an assert")
    if empty := next((step.source for step in steps if step.counts and not step.names), None):
        raise ValueError(f"a test passes whatever the candidate does: {empty}")


def judge_function(
    sandbox: Sandbox, task: Task, tests: Sequence[str], shown: Sequence[bool] | None = None
) -> Outcome:
    """Run `tests`, Python statements in order that share their names; those with an assert count.

    `shown` says which of them the prompt shows. A candidate that ends or hangs in one test meets
    the next one in a new process.
    """
    marks = shown or [False] * len(tests)
    steps = [_step(source, mark) for source, mark in zip(tests, marks, strict=True)]
    outcome = Outcome(
        total=sum(step.counts for step in steps),
        shown_total=sum(step.counts and step.shown for step in steps),
        signs=text_signs(task.code, [step.case for step in steps if step.case]),
    )
    candidate = _Candidate(task, outcome)
    seconds = sandbox.limits.seconds
    while steps and seconds > 0:
        with sandbox.execution(seconds=seconds) as execution:
            _meet(execution, candidate, task, steps)
            seconds = execution.seconds_left()
        outcome.learn(execution)
    if steps:
        outcome.fail("too_slow", f"it took longer than {sandbox.limits.seconds:g} seconds")
    return outcome


def _meet(execution: Execution, candidate: "_Candidate", task: Task, steps: list["_Step"]) -> None:
    """Run steps, and take them off the list, until none is left or the candidate is gone."""
    try:
        execution.begin(task)
    except CandidateError as error:
        candidate.outcome.fail(error.kind, error)
        steps.clear()
        return
    candidate.execution = execution
    while steps and not execution.is_gone:
        _run(steps.pop(0), candidate)


def _run(step: "_Step", candidate: "_Candidate") -> None:
    candidate.forget()
    outcome = candidate.outcome
    try:
        candidate.provide(step.names)
        exec(step.code, candidate.names)
        outcome.passed += step.counts
        outcome.shown_passed += step.counts and step.shown
    except CandidateError as error:
        outcome.fail(error.kind, f"{step.source}: {error}", **candidate.told(step, str(error)))
    except AssertionError:
        got = candidate.result()
        outcome.fail("wrong", f"{step.source}: it returned {got}", **candidate.told(step, got))
    except Exception as error:  # of a test that stumbles over what the candidate returned
        got = candidate.result()
        why = f"{step.source}: {type(error).__name__}, for {got}"
        outcome.fail("wrong", why, **candidate.told(step, got))


def judge_program(
    sandbox: Sandbox,
    code: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    shown: Sequence[bool] | None = None,
) -> Outcome:
    """Run a program once for each input; what it prints must be the output, to the last line.

    White space at the end of lines and empty lines at the end do not count.
    """
    marks = shown or [False] * len(inputs)
    outcome = Outcome(len(inputs), shown_total=sum(marks), signs=text_signs(code))
    seconds = sandbox.limits.seconds
    cases = zip(inputs, outputs, marks, strict=True)
    for number, (given, expected, mark) in enumerate(cases, 1):
        what = {"test": f"input {number}", "given": given, "expected": expected}
        printed, execution = _printed(sandbox, code, given, seconds)
        seconds = execution.seconds_left()
        outcome.see(*execution.signs)
        if isinstance(printed, CandidateError):
            kind, why = printed.kind, f"input {number}: {printed}"
            if kind == "died":
                kind = _how_ended(execution.exit_code or 0)
            outcome.fail(kind, why, **what, got=str(printed))
            if kind in ("not_compiled", "too_slow") or seconds <= 0:
                break
            continue
        what["got"] = printed
        if exit_code := execution.exit_code:
            failure = "raised" if exit_code > 0 else _how_ended(exit_code)
            outcome.fail(failure, f"input {number}: it ended with exit code {exit_code}", **what)
            continue
        outcome.returned = True
        if _lines(printed) == _lines(expected):
            outcome.passed += 1
            outcome.shown_passed += mark
        else:
            outcome.fail("wrong", f"input {number}: it printed {printed[:80]!a}", **what)
    return outcome


def _printed(
    sandbox: Sandbox, code: str, given: str, seconds: float
) -> tuple[str | CandidateError, Execution]:
    """What a program prints, or why that is not known, and its process, which is over."""
    source = os.memfd_create("input")
    reader, writer = os.pipe()
    with open(reader, "rb"), open(writer, "wb") as output, open(source, "w+b", 0) as text:
        text.write(given.encode(errors="surrogatepass"))
        text.seek(0)
        with sandbox.execution((source, writer), seconds) as execution:
            output.close()  # so that the end of the program is the end of what it prints
            try:
                execution.begin(Task(code))
                printed = execution.output(reader)
            except CandidateError as error:
                return error, execution
    return printed.decode(errors="backslashreplace"), execution


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().split("\n")]


class _Step:
    """One test: compiled once, with our comparison instead of Python's."""

    def __init__(self, text: str, shown: bool = False) -> None:
        tree = ast.parse(text)
        self.text, self.shown = text, shown
        self.source = " ".join(text.split())[:120]
        self.counts = any(isinstance(node, ast.Assert) for node in ast.walk(tree))
        self.names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        self.case: Case | None = literal_case(tree) if shown else None
        self.code = compile(ast.fix_missing_locations(_Strict().visit(tree)), "test", "exec")


@lru_cache(maxsize=1024)
def _step(source: str, shown: bool = False) -> _Step:
    """A group of completions has the tests in common."""
    return _Step(source, shown)


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
        self._entry_point, self.outcome = str(task.entry_point), outcome
        self.execution: Execution | None = None
        self.names: dict[str, Any] = {"__name__": "test", EQUAL: self._equal}
        exec(compile(task.context, "context", "exec", dont_inherit=True), self.names)
        self.names[self._entry_point] = self._function(self._entry_point)
        self.forget()

    def forget(self) -> None:
        """What the last test asked, got and compared."""
        self._last: object = None
        self._asked: str | None = None
        self._compared: tuple[object, ...] = ()

    def provide(self, wanted: set[str]) -> None:
        """Names that the task has not: modules, and functions of the candidate's own."""
        for name in wanted - self.names.keys():
            if name in sys.stdlib_module_names:
                self.names[name] = importlib.import_module(name)
            elif not hasattr(builtins, name):
                self.names[name] = self._function(name)

    def result(self) -> str:
        return _shown(self._last)

    def told(self, step: "_Step", got: str) -> dict[str, str | None]:
        """The test that failed: what was given, expected where that was compared, and got."""
        expected = None
        for side, other in zip(self._compared, self._compared[::-1], strict=True):
            expected = _shown(side) if other is self._last else expected
        return {"test": step.text, "given": self._asked, "expected": expected, "got": got}

    def _equal(self, left: object, right: object) -> bool:
        self._compared = (left, right)
        return values.equal(left, right)

    def _function(self, name: str) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            assert self.execution is not None
            named = (f"{key}={_shown(value)}" for key, value in kwargs.items())
            self._asked = f"{name}({', '.join([*map(_shown, args), *named])})"
            self._last = self.execution.call(name, args, kwargs)
            if name == self._entry_point:
                self.outcome.returned = True
            return self._last

        return call


def _shown(value: object) -> str:
    try:
        return ascii(value)[:100]
    except ValueError:  # an integer of more digits than Python writes
        return f"a long {type(value).__name__}"
