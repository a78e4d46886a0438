"""Code that knows the shown tests or swallows every error: bounded searches in its text.

Outside of the sandbox nothing compiles or parses a candidate.
"""

import ast
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

TEXT_SIGNS = ("special_cases", "catches_all")
SHORTEST_INPUT, SHORTEST = 2, 4  # letters and digits: f(0) == 1 and f([]) == [] are base cases
_NOT_RUN = re.compile(r"\"\"\"[\s\S]*?\"\"\"|'''[\s\S]*?'''|#[^\n]*")
_CATCHES_ALL = re.compile(
    r"^[ \t]*+except[ \t]*+(?::|(?:\([ \t]*+)?(?:Base)?Exception\b)", re.MULTILINE
)


@dataclass(frozen=True)
class Case:
    """A call with its arguments and the result that a test expects, as Python writes them."""

    inputs: tuple[str, ...]
    output: str


def literal_case(tree: ast.Module) -> Case | None:
    """Of `assert f(1, 'a') == 7`; None for a test of another form."""
    match tree.body:
        case [ast.Assert(test=ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]))]:
            call, result = (left, right) if isinstance(left, ast.Call) else (right, left)
        case _:
            return None
    match call:
        case ast.Call(func=ast.Name(), args=[*inputs], keywords=[]):
            if all(map(_is_literal, [*inputs, result])):
                return Case(tuple(map(compact_source, inputs)), compact_source(result))
    return None


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except ValueError:
        return False
    return True


def compact_source(node: ast.AST) -> str:
    return compact(ast.unparse(node))


def compact(text: str) -> str:
    """Without white space, in one kind of quotes."""
    return "".join(text.split()).replace('"', "'")


def knows_a_case(code: str, cases: Collection[Case]) -> bool:
    """Whether the code holds the inputs of a case and gives its output by hand."""
    text = _NOT_RUN.sub("", code).replace('"', "'")
    return any(_is_long(case) and _holds(text, case) for case in cases)


def _is_long(case: Case) -> bool:
    given, result = (len(re.findall(r"\w", text)) for text in ("".join(case.inputs), case.output))
    return given >= SHORTEST_INPUT and given + result >= SHORTEST


def _holds(text: str, case: Case) -> bool:
    result = rf"(?:\breturn|\belse|:|(?<![=!<>])=)\s*+(?:\(\s*+)?{_spaced(case.output)}(?![\w.'])"
    inputs = [rf"(?<![\w.]){_spaced(part)}(?![\w.])" for part in case.inputs]
    return all(re.search(pattern, text) for pattern in (*inputs, result))


def _spaced(compacted: str) -> str:
    """A pattern for it with any white space."""
    return r"\s*+".join(map(re.escape, compacted))


def text_signs(code: str, cases: Sequence[Case] = ()) -> list[str]:
    """Which of TEXT_SIGNS the code shows: an `except` that names no error, or all of them, and
    results of shown tests that were written down."""
    found = (knows_a_case(code, cases), bool(_CATCHES_ALL.search(code)))
    return [sign for sign, is_there in zip(TEXT_SIGNS, found, strict=True) if is_there]
