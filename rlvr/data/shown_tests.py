"""Which of a code task's tests the model has seen: those whose call or input stands in the prompt.

A policy can pass shown tests by heart; the hidden ones tell whether it solves the task.
"""

import ast
from collections.abc import Sequence

from rlvr.sandbox.gaming import compact, compact_source


def shown_tests(question: str, entry_point: str, tests: Sequence[str]) -> list[bool]:
    """Of each test, Python statements, whether `question` holds every call that it makes of the
    function, white space and quotes aside. HumanEval's examples, `>>> f(2)`, are such calls."""
    text = compact(question)
    names = {entry_point}
    found = []
    for tree in map(ast.parse, tests):
        match tree.body:
            case [ast.Assign(targets=[ast.Name(id=other)], value=ast.Name(id=name))]:
                names |= {other} if name in names else set()  # `candidate = f`
        calls = [f"{entry_point}({_arguments(node)})" for node in ast.walk(tree)
                 if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
                 and node.func.id in names]  # fmt: skip
        found.append(bool(calls) and all(call in text for call in calls))
    return found


def _arguments(call: ast.Call) -> str:
    named = [f"{keyword.arg}={compact_source(keyword.value)}" for keyword in call.keywords]
    return ",".join([*map(compact_source, call.args), *named])


def shown_inputs(question: str, inputs: Sequence[str]) -> list[bool]:
    """Of each input of a program, whether its lines stand in `question`, one below the other."""
    text = _lines(question)
    return [bool(given.strip()) and _lines(given) in text for given in inputs]


def _lines(text: str) -> str:
    return "\n" + "\n".join(line.strip() for line in text.strip().splitlines()) + "\n"
