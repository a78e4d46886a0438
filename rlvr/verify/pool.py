"""A few killable processes that compare LaTeX answers, each comparison under a hard deadline."""

import json
import logging
import os
import select
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

Task = tuple[str, str | None]  # gold and answer in LaTeX; no answer: only parse the gold
Reply = dict[str, Any]  # see `math_worker._answer`, and the two below
TIMEOUT: Reply = {"timeout": True}
LOST: Reply = {"error": "the worker died twice on this comparison"}

START_DEADLINE = 120.0  # seconds; importing sympy on a busy machine is slow
ATTEMPTS = 2
_SCRIPT = str(Path(__file__).with_name("math_worker.py"))
_KEPT = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR")  # no secrets, no trainer settings


class _Worker:
    """One process. Idle while `task` is None; `deadline` is when it is to be killed."""

    def __init__(self) -> None:
        paths = os.pathsep.join(path for path in sys.path if path)
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        self._process = subprocess.Popen(
            [sys.executable, "-P", _SCRIPT],  # -P: math.py beside the script must not be `math`
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**kept, "PYTHONPATH": paths, "PYTHONHASHSEED": "0", "PYTHONUTF8": "1"},
            bufsize=0,
            start_new_session=True,  # a Ctrl-C reaches the parent alone
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._replies = self._process.stdin, self._process.stdout
        self.descriptor = self._replies.fileno()
        self.ready = False
        self.task: int | None = None
        self.deadline = time.monotonic() + START_DEADLINE
        self._buffer = b""

    def send(self, index: int, task: Task, seconds: float) -> None:
        request = {"gold": task[0], "answer": task[1], "deadline": seconds}
        self.task, self.deadline = index, time.monotonic() + seconds
        self._requests.write(json.dumps(request).encode() + b"\n")

    def receive(self) -> Reply | None:
        """A reply, or None while it is incomplete; EOFError when the process has died."""
        chunk = os.read(self.descriptor, 1 << 16)
        if not chunk:
            raise EOFError
        self._buffer += chunk
        if not self._buffer.endswith(b"\n"):
            return None
        reply: Reply = json.loads(self._buffer)
        self._buffer, self.deadline = b"", float("inf")
        return reply

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._requests.close()
        self._replies.close()


class MathPool:
    """At most `workers` processes, started when first needed and again after a kill.

    Calls from several threads take turns. In a forked child the pool starts its own processes.
    """

    def __init__(self, workers: int, seconds: float) -> None:
        self._limit, self._seconds = workers, seconds
        self._workers: list[_Worker] = []
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._finalizer = weakref.finalize(self, _kill_all, self._workers, self._owner)

    def compare(self, tasks: Sequence[Task]) -> list[Reply]:
        """One reply per task, in order, whatever happens to the processes."""
        if os.getpid() != self._owner:
            self.__init__(self._limit, self._seconds)  # type: ignore[misc]
        with self._lock:
            return _Batch(self._workers, tasks, self._limit, self._seconds).run()


class _Batch:
    """One call's tasks on their way through the workers."""

    def __init__(
        self, workers: list[_Worker], tasks: Sequence[Task], limit: int, seconds: float
    ) -> None:
        self._workers, self._tasks, self._limit, self._seconds = workers, tasks, limit, seconds
        self._waiting = deque(range(len(tasks)))
        self._attempts = [0] * len(tasks)
        self._replies: dict[int, Reply] = {}
        self._failed_starts = 0

    def run(self) -> list[Reply]:
        try:
            while len(self._replies) < len(self._tasks):
                self._start_workers()
                self._hand_out()
                self._collect()
        except BaseException:  # Ctrl-C: a worker with an unread reply would answer the next call
            for worker in [w for w in self._workers if w.task is not None]:
                self._drop(worker)
            raise
        return [self._replies[index] for index in range(len(self._tasks))]

    def _start_workers(self) -> None:
        starting = sum(not worker.ready for worker in self._workers)
        idle = sum(worker.ready and worker.task is None for worker in self._workers)
        room = self._limit - len(self._workers)
        for _ in range(min(room, len(self._waiting) - starting - idle)):
            self._workers.append(_Worker())

    def _hand_out(self) -> None:
        for worker in [w for w in self._workers if w.ready and w.task is None]:
            if not self._waiting:
                return
            index = self._waiting.popleft()
            self._attempts[index] += 1
            try:
                worker.send(index, self._tasks[index], self._seconds)
            except OSError:
                self._lose(worker)

    def _collect(self) -> None:
        busy = [w for w in self._workers if w.task is not None or not w.ready]
        poll = select.poll()
        for worker in busy:
            poll.register(worker.descriptor, select.POLLIN)
        left = min((w.deadline for w in busy), default=0.0) - time.monotonic()
        events = {descriptor for descriptor, _ in poll.poll(max(left, 0.0) * 1000)}
        for worker in busy:
            if worker.descriptor in events:
                self._read(worker)
            elif worker.deadline <= time.monotonic():
                self._expire(worker)

    def _read(self, worker: _Worker) -> None:
        try:
            reply = worker.receive()
        except (EOFError, ValueError):
            expired = time.monotonic() >= worker.deadline
            (self._expire if expired else self._lose)(worker)
            return
        if reply is None:
            return
        if worker.task is None:
            worker.ready = True
            return
        self._replies[worker.task] = reply
        worker.task = None

    def _expire(self, worker: _Worker) -> None:
        if worker.task is None:
            self._lose(worker)
            return
        self._replies[worker.task] = TIMEOUT
        self._drop(worker)

    def _lose(self, worker: _Worker) -> None:
        """The worker died by itself: its task is tried once more, in a new one."""
        index = worker.task
        self._drop(worker)
        if index is None:
            self._give_up()
        elif self._attempts[index] < ATTEMPTS:
            self._waiting.appendleft(index)
        else:
            self._replies[index] = LOST

    def _give_up(self) -> None:
        """A worker that dies while starting will do so again: say so instead of looping."""
        self._failed_starts += 1
        if self._failed_starts < ATTEMPTS:
            return
        log.error("math-verify does not start here: try `python -c 'import math_verify'`")
        error = {"error": "math-verify does not start"}
        self._replies.update((index, error) for index in self._waiting)
        self._waiting.clear()

    def _drop(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.kill()


def _kill_all(workers: list[_Worker], owner: int) -> None:
    if os.getpid() == owner:
        while workers:
            workers.pop().kill()
