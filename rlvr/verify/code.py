"""Verifies code by running it against a task's tests, in a sandbox that holds.

The process of the run neither compiles nor parses what a model wrote, and unpickles nothing: it
hands text to workers and reads counts. What a worker does is in `rlvr.sandbox`.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from rlvr.errors import UserError
from rlvr.sandbox.choose import choose
from rlvr.sandbox.runner import Limits
from rlvr.verify.answers import spoken
from rlvr.verify.pool import Reply, Request, WorkerPool
from rlvr.verify.verdict import Execution, Failure, Reason, Submit, Verdict

LONGEST_CODE = 100_000  # characters
MARGIN = 4.0  # seconds that the judge has besides the candidate's
WORKERS = 32  # mostly asleep: a program that hangs keeps its worker until the deadline
KEPT_CODE = 4_000  # characters of it in a verdict
COLUMNS = ("tests", "context", "entry_point", "stdin", "stdout", "shown")

_FENCE = re.compile(r"^[^\S\n]*```[^\n]*\n?", re.MULTILINE)


class CodeVerifier:
    """Pays the share of a task's tests that the completion's code passes; 1.0 for all alone.

    `format_ok` says that the code compiles, defines the entry point and returns from a call (a
    program: ends without an error). Columns: `entry_point`, `tests` (Python statements with
    asserts) and `context` (what is defined before the code), or `stdin` and `stdout`, lists of
    texts for a program; `shown` says of each test or input whether the prompt shows it. The gold
    is a solution that passes.

    `seconds` bound one completion, `call_seconds` one call, `memory_mb` its memory; `workers` run
    at a time. `sandbox` is `auto` or a name in `rlvr.sandbox.backends.Backend`. `opening` is the
    beginning of the code, where the prompt has written it already.
    """

    def __init__(
        self,
        sandbox: str = "auto",
        seconds: float = 6.0,
        call_seconds: float = 2.0,
        memory_mb: int = 512,
        workers: int = WORKERS,
        allow_unsafe_execution: bool = False,
        opening: str = "",
    ) -> None:
        if memory_mb < 64 or call_seconds <= 0:
            raise UserError(
                f"memory_mb={memory_mb}, call_seconds={call_seconds} of the verifier: expected at "
                "least 64 MB, which Python itself needs, and more than 0 seconds."
            )
        self._opening = opening
        self.sandbox = choose(sandbox, allow_unsafe_execution)
        limits = Limits(memory_mb << 20, seconds, min(call_seconds, seconds))
        self._pool = WorkerPool(
            "rlvr.verify.code_worker",
            workers=workers,
            seconds=seconds + MARGIN,
            settings={"backend": self.sandbox.backend, "limits": asdict(limits)},
            environment={"LANG": "C.UTF-8"},
            # The candidate's deadlines are shorter, so it was a busy machine, or a value that makes
            # a test hang: the second time it is the candidate's.
            patient=True,
        )

    def canonical(self, gold: object) -> str:
        """The reference solution, without empty lines around it; ValueError when it is no text."""
        if not isinstance(gold, str) or not gold.strip():
            raise ValueError("expected the code of a solution")
        return gold.strip("\n")

    def example(self, gold: str) -> str:
        """A completion with the solution `gold`, as a model would write it."""
        return gold if self._opening else f"```python\n{gold}\n```"

    def verify(
        self, completions: Sequence[str], golds: Sequence[str], **columns: Sequence[Any]
    ) -> list[Verdict]:
        """One verdict per completion; UserError where the columns are not those of code tasks."""
        with self.begin() as submit:
            waiting = [
                submit(text, gold, **{name: columns[name][i] for name in columns})
                for i, (text, gold) in enumerate(zip(completions, golds, strict=True))
            ]
            return [wait() for wait in waiting]

    @contextmanager
    def begin(self) -> Iterator[Submit]:
        """See `Verifier`: completions are executed as they come."""
        with self._pool.batch() as ask:

            def submit(completion: str, gold: str, **columns: Any) -> Callable[[], Verdict]:
                request = self._request(completion, columns)
                if isinstance(request, Verdict):
                    return lambda: request
                reply = ask(request)
                return lambda: _verdict(request, reply.result())

            yield submit

    def _request(self, completion: str, row: dict[str, Any]) -> Request | Verdict:
        task = {name: row.get(name) for name in COLUMNS}
        if not (task["tests"] and task["entry_point"]) and not task["stdin"]:
            raise UserError(
                "CodeVerifier needs the columns entry_point and tests, or stdin and stdout: use it "
                "with dataset=code_tasks, humaneval, mbpp, or rows of that form (docs/code.md)."
            )
        code = extract(completion)
        if not code.strip():
            return Verdict(0.0, Reason.NO_ANSWER, execution=Execution("no_code"))
        if len(code) > LONGEST_CODE:
            ran = Execution("not_compiled", code[:KEPT_CODE])
            return Verdict(0.0, Reason.UNPARSEABLE, execution=ran)
        return {**task, "context": task["context"] or "", "code": self._opening + code}


def extract(completion: str) -> str:
    """The code of a completion: its last fenced block, or all of it where there is no fence.

    A fence is a line that begins with ```. The prompt may have opened the first block, and the
    last one may be open. What stands in thoughts does not count.
    """
    text = spoken(completion)
    fences = list(_FENCE.finditer(text))
    if not fences:
        return text
    opened = fences[0].group().strip() == "```" and text[: fences[0].start()].strip() != ""
    if len(fences) == 1 and opened:
        return text[: fences[0].start()]
    if len(fences) % 2 and not opened:
        return text[fences[-1].end() :]
    return text[fences[-2].end() : fences[-1].start()]


def _verdict(request: Request, reply: Reply | Reason) -> Verdict:
    code = request["code"][:KEPT_CODE]
    if reply is Reason.TIMEOUT:
        why = "the test did not end on what it returned"
        return Verdict(0.0, Reason.RUN_ERROR, why, execution=Execution("too_slow", code))
    if isinstance(reply, Reason) or "error" in reply:
        return Verdict(None, Reason.INFRA_ERROR, execution=Execution("infra_error", code))
    passed, total, failure = reply["passed"], reply["total"], reply["failure"]
    ran = _execution(code, reply)
    if failure == "not_compiled":
        return Verdict(0.0, Reason.UNPARSEABLE, execution=ran)
    if passed == total and failure is None:
        return Verdict(1.0, Reason.CORRECT, format_ok=True, execution=ran)
    share = min(passed, total - 1) / total if total else 0.0
    reason = Reason.PARTIAL if passed else Reason.WRONG if reply["returned"] else Reason.RUN_ERROR
    why = reply["why"] if failure in ("wrong", None) else f"{failure}: {reply['why']}"
    return Verdict(share, reason, why, format_ok=reply["returned"], execution=ran)


def _execution(code: str, reply: Reply) -> Execution:
    shown, of_shown = reply["shown_passed"], reply["shown_total"]
    failure = None
    if reply["failure"] is not None:
        parts = {part: reply[part] for part in ("test", "given", "expected", "got")}
        failure = Failure(**{**parts, "got": parts["got"] or reply["why"]})
    return Execution(
        outcome=reply["failure"] or "passed",
        code=code,
        shown=(shown, of_shown),
        hidden=(reply["passed"] - shown, reply["total"] - of_shown),
        failure=failure,
        signs=tuple(reply["signs"]),
    )
