"""Verifies answers with reasoning_gym's own `score_answer`, in a process that can be killed.

Several tasks hand the answer to `eval` or sympy, so a completion can hang or crash the scorer. The
process gets no environment variables of ours, a memory limit and a deadline. It is no sandbox.
"""

import json
import os
import re
import resource
import selectors
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from omegaconf import OmegaConf

from rlvr.data.sources.reasoning_gym import create, decode
from rlvr.errors import UserError
from rlvr.sampling.stop import StopRule
from rlvr.verify.answers import REFERENCE_PREFIX, RUN_ON, spoken
from rlvr.verify.verdict import Reason, Verdict

START_SECONDS = 120.0
MEMORY_BYTES = 8 << 30
LONGEST_ANSWER = 20_000  # characters


class ReasoningGymVerifier:
    """Scores all that follows the answer prefix, several lines if need be.

    A score of 1 is correct, one between 0 and 1 partial with that reward. Needs the columns
    `question` and `metadata` of `rlvr.data.sources.reasoning_gym`.
    """

    def __init__(
        self,
        task: str,
        config: Mapping[str, Any] | None = None,
        answer_prefix: str = REFERENCE_PREFIX,
        stop: StopRule | None = RUN_ON,
        timeout: float = 5.0,
    ) -> None:
        words = r"[^\S\n]++".join(re.escape(word) for word in answer_prefix.split())
        self._marker = re.compile(rf"^[^\S\n]*+{words}[^\S\n]*+:?", re.IGNORECASE | re.MULTILINE)
        self._stop = stop
        settings: Any = OmegaConf.to_container(OmegaConf.create(dict(config or {})))
        self._scorer = Scorer(task, settings, timeout)

    def canonical(self, gold: object) -> str:
        """The answer as reasoning_gym writes it; ValueError when it is not text."""
        if not isinstance(gold, str) or not gold.strip():
            raise ValueError("expected text that is not empty")
        return gold

    def verify(
        self, completions: Sequence[object], golds: Sequence[str], **columns: Sequence[Any]
    ) -> list[Verdict]:
        """One verdict per completion; ValueError when the columns differ in length."""
        if not {"question", "metadata"} <= columns.keys():
            raise UserError(
                "ReasoningGymVerifier needs the columns question and metadata: use it with "
                "dataset=reasoning_gym."
            )
        rows = zip(completions, golds, columns["question"], columns["metadata"], strict=True)
        return [self._judge(*row) for row in rows]

    def _judge(self, completion: object, gold: str, question: str, metadata: str) -> Verdict:
        parts = self._marker.split(spoken(completion, self._stop))[1:]
        answers = dict.fromkeys(answer for part in parts if (answer := part.strip()))
        if not answers:
            return Verdict(0.0, Reason.NO_ANSWER)
        if len(answers) > 1:
            return Verdict(0.0, Reason.MULTIPLE_ANSWERS, " | ".join(answers))
        answer = next(iter(answers))
        if len(answer) > LONGEST_ANSWER:
            return Verdict(0.0, Reason.UNPARSEABLE, answer[:80])
        return self._scored(answer, {"question": question, "answer": gold, "metadata": metadata})

    def _scored(self, answer: str, entry: dict[str, Any]) -> Verdict:
        score = self._scorer.score(answer, entry)
        if isinstance(score, Reason):
            reward = None if score is Reason.INFRA_ERROR else 0.0
            return Verdict(reward, score, answer)
        if score >= 1:
            return Verdict(1.0, Reason.CORRECT, answer, format_ok=True)
        if score > 0:
            return Verdict(score, Reason.PARTIAL, answer, format_ok=True)
        return Verdict(0.0, Reason.WRONG, answer, format_ok=True)


class Scorer:
    """One child process that scores answers, started when first needed and after each kill."""

    def __init__(self, task: str, config: dict[str, Any], timeout: float) -> None:
        self._task = task
        self._config = config
        self._timeout = timeout
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def score(self, answer: str, entry: dict[str, Any]) -> float | Reason:
        """The score; UNPARSEABLE when score_answer raised, TIMEOUT, or INFRA_ERROR when it died."""
        with self._lock:
            process = self._process or self._start()
            reply = _ask(process, {"answer": answer, "entry": entry}, self._timeout)
            if isinstance(reply, Reason):
                process.kill()
                process.wait()
                self._process = None
                return reply
        return Reason.UNPARSEABLE if "error" in reply else float(reply["score"])

    def _start(self) -> subprocess.Popen[str]:
        search = os.pathsep.join(p or os.getcwd() for p in sys.path)
        process = subprocess.Popen(
            [sys.executable, "-P", "-W", "ignore", "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={"PYTHONPATH": search, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"},
        )
        weakref.finalize(self, _end, process)
        request = {"task": self._task, "config": self._config, "timeout": self._timeout}
        if isinstance(reply := _ask(process, request, START_SECONDS), Reason):
            _end(process)
            raise RuntimeError(f"the reasoning_gym scorer did not start ({reply})")
        if "error" in reply:
            _end(process)
            raise UserError(reply["error"])
        self._process = process
        return process


def _ask(process: subprocess.Popen[str], request: dict[str, Any], seconds: float) -> Any:
    """The child's reply, or TIMEOUT, or INFRA_ERROR when it has died."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
    except BrokenPipeError:
        return Reason.INFRA_ERROR
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if not selector.select(seconds):
            return Reason.TIMEOUT
    reply = process.stdout.readline()
    return json.loads(reply) if reply else Reason.INFRA_ERROR


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def serve(requests: TextIO, replies: TextIO) -> None:
    """The child: one JSON line in (first the task, then answers), one JSON line out."""
    first = json.loads(requests.readline())
    try:
        dataset = create(first["task"], {**first["config"], "size": 1, "seed": 0})
    except UserError as error:
        return _reply(replies, {"error": str(error)})
    _reply(replies, {"ready": True})
    for line in requests:
        signal.alarm(int(first["timeout"]) + 5)  # ends it even where the parent is gone
        _reply(replies, _score(dataset, **json.loads(line)))
        signal.alarm(0)


def _score(dataset: Any, answer: str, entry: dict[str, Any]) -> dict[str, Any]:
    entry["metadata"] = decode(entry["metadata"])
    try:
        return {"score": float(dataset.score_answer(answer, entry))}
    except Exception as error:  # whatever a task's parser raises on a model's text
        return {"error": f"{type(error).__name__}: {error}"}


def _reply(replies: TextIO, message: dict[str, Any]) -> None:
    replies.write(json.dumps(message) + "\n")
    replies.flush()


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a task prints must not reach the parent as a reply
    serve(sys.stdin, channel)
