"""Completions for the pre-flight check: gold answers as the prompt writes them, and spoilt ones."""

import re
from collections.abc import Mapping
from typing import Any

from rlvr.data.prompts import PromptBuilder
from rlvr.errors import UserError, failure
from rlvr.sampling.stop import opens_thought
from rlvr.verify.judge import judge
from rlvr.verify.verdict import Reason, Verifier

GOLD = "gold"
SPOILT = ("changed", "sign flipped", "another's", "negated", "cut off", "empty")

_NUMERIC = re.compile(r"-?[0-9]*[1-9][0-9./]*")
_THOUGHT_ENDS = "\n</think>"
_DIGITS = str.maketrans("0123456789", "1234567891")


def completions(
    builder: PromptBuilder, verifier: Verifier, row: Mapping[str, Any], other: str
) -> dict[str, str]:
    """GOLD and, where they differ from it, the SPOILT completions to one row.

    `other` is another row's gold. A verifier whose golds are no answers as they stand has a method
    `example(gold)` that writes a completion; all others get the prompt's own format.
    """
    gold: str = row["gold"]
    if hasattr(verifier, "example"):
        thought = f"{_THOUGHT_ENDS}\n" if opens_thought(row["prompt"]) else ""
        text = thought + _example(verifier, gold)
        ways = {
            GOLD: text,
            "another's": thought + _example(verifier, other),
            "negated": text.replace(" is ", " is not "),
            "cut off": text[: len(text) // 2],
        }
    else:
        ways = _in_format(builder, row, other, _boxed(builder, verifier, row))
    ways["empty"] = ""
    return {way: text for way, text in ways.items() if way == GOLD or text != ways[GOLD]}


def _example(verifier: Any, gold: str) -> str:
    try:
        return str(verifier.example(gold))
    except (Exception, SystemExit) as error:  # whatever a user's own verifier raises
        name = type(verifier).__name__
        raise UserError(f"verifier {name}.example({gold!r}) {failure(error)}") from error


def _in_format(
    builder: PromptBuilder, row: Mapping[str, Any], other: str, boxed: bool
) -> dict[str, str]:
    gold, solution = row["gold"], _solution(builder, row)

    def write(answer: str) -> str:
        written = f"\\boxed{{{answer}}}" if boxed and answer else answer
        return builder.template.solve(solution, written)

    return {
        GOLD: write(gold),
        "changed": write(_changed(gold)),
        "sign flipped": write(_flipped(gold)),
        "another's": write(other),
        "negated": write(f"not {gold}"),
        "cut off": write("").rstrip(),
    }


def _boxed(builder: PromptBuilder, verifier: Verifier, row: Mapping[str, Any]) -> bool:
    """Whether answers stand in \\boxed{}: as the exemplars have it or, without any, as is read."""
    if builder.exemplars:
        return all("\\boxed" in exemplar.answer for exemplar in builder.exemplars)
    gold = row["gold"]
    answers = (gold, f"\\boxed{{{gold}}}")
    thought = _THOUGHT_ENDS if opens_thought(row["prompt"]) else ""
    texts = [builder.template.solve(thought, answer) for answer in answers]
    plain, boxed = judge(verifier, [row, row], texts)
    return plain.reason is Reason.NO_ANSWER and boxed.correct


def _solution(builder: PromptBuilder, row: Mapping[str, Any]) -> str:
    """The row's own solution, else that of the first exemplar, else a plain sentence.

    It ends the thought that a prompt may have opened: nothing in a thought is an answer.
    """
    own = row.get("solution")
    if isinstance(own, str) and own.strip():
        solution = own.strip()
    else:
        solution = builder.exemplars[0].solution if builder.exemplars else "This is the answer."
    return solution + _THOUGHT_ENDS if opens_thought(row["prompt"]) else solution


def _changed(gold: str) -> str:
    """Every digit one up (9 becomes 1), beyond any sensible tolerance; text loses its end."""
    return gold.translate(_DIGITS) if re.search("[0-9]", gold) else gold[:-1]


def _flipped(gold: str) -> str:
    if not _NUMERIC.fullmatch(gold):
        return gold
    return gold.removeprefix("-") if gold.startswith("-") else f"-{gold}"
