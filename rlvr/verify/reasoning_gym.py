"""Verifies answers with reasoning_gym's own `score_answer`, in processes that can be killed.

Several tasks hand the answer to `eval` or sympy, so a completion can hang or crash the scorer. The
processes get no environment variables of ours, a memory limit and a deadline. They are no sandbox.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import OmegaConf

from rlvr.errors import UserError
from rlvr.gym_tasks import create
from rlvr.verify.answers import REFERENCE_PREFIX, spoken
from rlvr.verify.pool import Reply, Request, WorkerPool
from rlvr.verify.verdict import Reason, Verdict

MEMORY_BYTES = 8 << 30
LONGEST_ANSWER = 20_000  # characters


class ReasoningGymVerifier:
    """Scores all that follows the answer prefix, several lines if need be.

    A score of 1 is correct, one between 0 and 1 partial with that reward. Needs the columns
    `question` and `metadata` of `rlvr.data.sources.reasoning_gym`. `seconds` is the deadline of one
    answer, `workers` how many are scored at a time.
    """

    def __init__(
        self,
        task: str,
        config: Mapping[str, Any] | None = None,
        answer_prefix: str = REFERENCE_PREFIX,
        seconds: float = 5.0,
        workers: int = 2,
    ) -> None:
        words = r"[^\S\n]++".join(re.escape(word) for word in answer_prefix.split())
        self._marker = re.compile(rf"^[^\S\n]*+{words}[^\S\n]*+:?", re.IGNORECASE | re.MULTILINE)
        settings: Any = OmegaConf.to_container(OmegaConf.create(dict(config or {})))
        create(task, {**settings, "size": 1, "seed": 0})  # what it refuses is said here, once
        self._pool = WorkerPool(
            "rlvr.verify.reasoning_gym_worker",
            workers=workers,
            seconds=seconds,
            settings={"task": task, "config": settings},
            memory=MEMORY_BYTES,
            environment={"OMP_NUM_THREADS": "1"},
        )

    def canonical(self, gold: object) -> str:
        """The answer as reasoning_gym writes it; ValueError when it is not text."""
        if not isinstance(gold, str) or not gold.strip():
            raise ValueError("expected text that is not empty")
        return gold

    def verify(
        self, completions: Sequence[str], golds: Sequence[str], **columns: Sequence[Any]
    ) -> list[Verdict]:
        """One verdict per completion; ValueError when the columns differ in length."""
        if not {"question", "metadata"} <= columns.keys():
            raise UserError(
                "ReasoningGymVerifier needs the columns question and metadata: use it with "
                "dataset=reasoning_gym."
            )
        rows = zip(completions, golds, columns["question"], columns["metadata"], strict=True)
        first = [self._read(*row) for row in rows]
        asked = [found for found in first if not isinstance(found, Verdict)]
        replies = zip(asked, self._pool.ask(asked), strict=True)
        return [f if isinstance(f, Verdict) else _verdict(*next(replies)) for f in first]

    def _read(self, completion: str, gold: str, question: str, metadata: str) -> Verdict | Request:
        """The verdict where there is nothing to score, else what the scorer is asked."""
        parts = self._marker.split(spoken(completion))[1:]
        answers = dict.fromkeys(answer for part in parts if (answer := part.strip()))
        if not answers:
            return Verdict(0.0, Reason.NO_ANSWER)
        if len(answers) > 1:
            return Verdict(0.0, Reason.MULTIPLE_ANSWERS, " | ".join(answers))
        answer = next(iter(answers))
        if len(answer) > LONGEST_ANSWER:
            return Verdict(0.0, Reason.UNPARSEABLE, answer[:80])
        entry = {"question": question, "answer": gold, "metadata": metadata}
        return {"answer": answer, "entry": entry}


def _verdict(request: Request, reply: Reply | Reason) -> Verdict:
    answer = request["answer"]
    if isinstance(reply, Reason):
        return Verdict(None, reply, answer, format_ok=True)
    if "unreadable" in reply:
        return Verdict(0.0, Reason.UNPARSEABLE, answer)
    if "error" in reply:
        return Verdict(None, Reason.INFRA_ERROR, answer, format_ok=True)
    score = reply["score"]
    if score >= 1:
        return Verdict(1.0, Reason.CORRECT, answer, format_ok=True)
    if score > 0:
        return Verdict(score, Reason.PARTIAL, answer, format_ok=True)
    return Verdict(0.0, Reason.WRONG, answer, format_ok=True)
