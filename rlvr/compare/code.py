"""What the report tells of code: outcomes of each run, and of a question the code before and after.

It reads what evaluations have left; nothing is executed or parsed.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlvr.compare.runs import RunRow
from rlvr.verify.verdict import OUTCOMES

CHARACTERS = 1_500  # of a code, and of a difference
PHASES = {"base": "before", "trained": "after"}


@dataclass(frozen=True)
class CodeAnswer:
    """The code that was run; `failure` is `rlvr.verify.verdict.Failure`, None where it passed."""

    code: str
    outcome: str
    passed: int
    tests: int
    failure: dict[str, Any] | None
    signs: list[str]


def code_answer(ran: Mapping[str, Any]) -> CodeAnswer:
    code = cut(ran["code"].strip("\n"))
    passed, tests = (sum(pair) for pair in zip(ran["shown"], ran["hidden"], strict=True))
    return CodeAnswer(code, ran["outcome"], passed, tests, ran["failure"], list(ran["signs"]))


def difference(base: str, trained: str) -> list[str]:
    """Lines of a unified diff, each with its sign before it; empty where the two have no line in
    common, so that a difference says no more than both."""
    before, after = base.splitlines(), trained.splitlines()
    lines = [*difflib.unified_diff(before, after, lineterm="", n=2)][2:]
    if not set(before) & set(after):
        return []
    return cut("\n".join(lines)).split("\n") if lines else []


def cut(text: str) -> str:
    return text if len(text) <= CHARACTERS else f"{text[:CHARACTERS]} …"


@dataclass(frozen=True)
class CodeLine:
    """Of one run and phase: shares of tests passed, completions by outcome and by sign."""

    run: int
    benchmark: str
    phase: str
    tests_passed: dict[str, float]
    outcomes: dict[str, int]
    gaming: dict[str, int]


def code_lines(rows: Sequence[RunRow]) -> list[CodeLine]:
    """A line for each evaluation of code; the outcomes as `OUTCOMES` has them."""
    return [
        CodeLine(row.index, benchmark, title, score["tests_passed"],
                 {o: score["outcomes"][o] for o in OUTCOMES if score["outcomes"].get(o)},
                 score["gaming"])
        for row in rows if row.result
        for benchmark, scores in _evaluations(row).items()
        for phase, title in PHASES.items()
        if (score := scores.get(phase)) and score.get("outcomes")
    ]  # fmt: skip


def _evaluations(row: RunRow) -> dict[str, dict[str, Any]]:
    assert row.result
    return {"": {"base": row.base, "trained": row.trained}, **row.result.benchmarks}
