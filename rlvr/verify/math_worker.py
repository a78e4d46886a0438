"""Compares LaTeX answers with math-verify: a script that `math_pool` runs and may kill.

It imports nothing of this package. It reads one JSON request a line and answers each with one line.
A task that outlives its deadline ends the process from within, so none outlives its parent either.
"""

import contextlib
import json
import logging
import os
import resource
import select
import signal
from typing import Any

MEMORY = 4 << 30  # bytes of address space
GRACE = 0.5  # seconds after the deadline, in which the parent should have killed this process
IDLE = 1.0  # seconds between looks at whether the parent is still there


def main() -> None:
    parent = os.getppid()
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not look like a reply
    _limit()
    logging.disable(logging.CRITICAL)
    # Before "ready", so that the first deadline need not pay for imports and built grammars.
    _answer({"gold": r"\sqrt{x}+\frac{\pi}{2}", "answer": r"\pi/2+x^{0.5}"})
    _reply(replies, {"ready": True})
    for request in _requests(parent):
        signal.setitimer(signal.ITIMER_REAL, request["deadline"] + GRACE)
        answer = _answer(request)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _reply(replies, answer)


def _limit() -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process even in the middle of C code
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    for what, limit in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CORE, 0)):
        with contextlib.suppress(ValueError, OSError):  # not every system can limit these
            resource.setrlimit(what, (limit, limit))


def _requests(parent: int) -> Any:
    """Yields requests until stdin closes or the parent is gone."""
    buffer = b""
    while os.getppid() == parent:
        if not select.select([0], [], [], IDLE)[0]:
            continue
        chunk = os.read(0, 1 << 16)
        if not chunk:
            return
        *lines, buffer = (buffer + chunk).split(b"\n")
        yield from map(json.loads, lines)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    """{"equal": bool}, {"unparseable": "gold" or "answer"}, {"parsed": true} or {"error": text}."""
    from math_verify import verify

    try:
        gold = _parse(request["gold"])
        if not gold:
            return {"unparseable": "gold"}
        if request["answer"] is None:
            return {"parsed": True}
        answer = _parse(request["answer"])
        if not answer:
            return {"unparseable": "answer"}
        equal = verify(gold, answer, timeout_seconds=None, raise_on_error=True)
        return {"equal": bool(equal)}
    except Exception as error:  # MemoryError and RecursionError included: the parent must know
        return {"error": f"{type(error).__name__}: {error}"[:200]}


def _parse(latex: str) -> list[Any]:
    """math-verify's reading, without its fallback to the bare string."""
    from math_verify import LatexExtractionConfig, parse

    # The parent holds the deadline: math-verify's own would take over SIGALRM.
    config = [LatexExtractionConfig(boxed_match_priority=0)]
    read = parse("\\boxed{" + latex + "}", config, parsing_timeout=None)
    return [] if all(isinstance(value, str) for value in read) else read


def _reply(replies: Any, reply: dict[str, Any]) -> None:
    replies.write(json.dumps(reply) + "\n")
    replies.flush()


if __name__ == "__main__":
    main()
