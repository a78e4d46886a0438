"""Compares LaTeX answers with math-verify, in processes of `rlvr.verify.pool`."""

import re
from typing import Any

from rlvr.verify.pool_worker import Answer, Reply, Request, serve


def start() -> Answer:
    # Now, so that the first deadline need not pay for imports and built grammars.
    compare({"gold": r"\sqrt{x}+\frac{\pi}{2}", "answer": r"\pi/2+x^{0.5}"})
    return compare


def compare(request: Request) -> Reply:
    """{"equal": bool} or {"unparseable": "gold" or "answer"}; with no answer {"parsed": true}."""
    from math_verify import verify

    gold = _parse(request["gold"])
    if not gold:
        return {"unparseable": "gold"}
    if request["answer"] is None:
        return {"parsed": True}
    answer = _parse(request["answer"])
    if not answer:
        return {"unparseable": "answer"}
    return {"equal": bool(verify(gold, answer, timeout_seconds=None, raise_on_error=True))}


def _parse(latex: str) -> list[Any]:
    """math-verify's reading, without its fallback to the bare string."""
    from math_verify import LatexExtractionConfig, parse

    if not _is_balanced(latex):  # "x} or 2" would close the box below and be read as "x"
        return []
    # The pool holds the deadline: math-verify's own would take over SIGALRM.
    config = [LatexExtractionConfig(boxed_match_priority=0)]
    read = parse("\\boxed{" + latex + "}", config, parsing_timeout=None)
    return [] if all(isinstance(value, str) for value in read) else read


def _is_balanced(latex: str) -> bool:
    depth = 0
    for brace in re.findall(r"\\.|[{}]", latex, re.DOTALL):
        depth += {"{": 1, "}": -1}.get(brace, 0)
        if depth < 0:
            return False
    return depth == 0


if __name__ == "__main__":
    serve(start)
