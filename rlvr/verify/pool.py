"""Processes that answer requests and can be killed: for whatever may hang, crash or eat memory.

A pool runs `python -m MODULE`; `rlvr.verify.pool_worker` is the other side. Each worker gets the
pool's settings first and says when it is ready; then it answers requests, one JSON object a line.

Why no library: pebble and billiard unpickle what a worker sends, so that an untrusted program could
take over its parent; their workers see the whole environment, import the main module again, and go
on for ever in C code when the parent is killed. concurrent.futures and loky cannot end one call.
"""

import contextlib
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import LifoQueue
from typing import Any

from rlvr.errors import UserError
from rlvr.processes import signal_group
from rlvr.verify.pool_worker import GRACE, START_SECONDS, Reply, Request
from rlvr.verify.verdict import Reason

log = logging.getLogger(__name__)

ATTEMPTS = 2
MOST_BYTES = 16 << 20  # of one reply
_KEPT = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR")  # no secrets, no trainer settings


class WorkerPool:
    """At most `workers` processes, started when first needed and again after one was killed.

    `settings` (JSON) go to the worker's `start`, `memory` limits its address space in bytes, and
    `environment` is all it sees besides search paths. A `patient` pool tries a request once more
    that ran into the deadline, as all do with one that its worker died on. Threads may share a
    pool; a forked child gets processes of its own.
    """

    def __init__(
        self,
        module: str,
        *,
        workers: int,
        seconds: float,
        settings: Mapping[str, Any] | None = None,
        memory: int = 4 << 30,
        environment: Mapping[str, str] | None = None,
        patient: bool = False,
    ) -> None:
        if not 0 < seconds <= 600 or not 1 <= workers <= 256:
            raise UserError(
                f"seconds={seconds}, workers={workers} of the verifier: expected above 0 and at "
                "most 600 seconds for one answer, and 1 to 256 workers."
            )
        self._module, self._limit, self._seconds = module, workers, seconds
        self._hello = {"settings": dict(settings or {}), "memory": memory, "seconds": seconds}
        self._environment = dict(environment or {})
        self._patient = patient
        self._own()

    def _own(self) -> None:
        """Begin without workers, in this process."""
        self._owner = os.getpid()
        self._running: set[_Worker] = set()
        # Last in, first out: a worker that runs is taken before another one is started.
        self._slots: LifoQueue[_Worker | None] = LifoQueue()
        for _ in range(self._limit):
            self._slots.put(None)
        weakref.finalize(self, _close_all, self._running, self._owner)

    def ask(self, requests: Sequence[Request]) -> list[Reply | Reason]:
        """One reply per request, in order, whatever happens to the processes."""
        with self.batch() as submit:
            asked = [submit(request) for request in requests]
            return [future.result() for future in asked]

    @contextlib.contextmanager
    def batch(self) -> Iterator[Callable[[Request], "Future[Reply | Reason]"]]:
        """What takes requests of which others are still to come; all are answered at the end.

        Instead of a reply TIMEOUT, where its worker was killed at the deadline, or INFRA_ERROR,
        where two workers died on it or none starts.
        """
        if os.getpid() != self._owner:
            self._own()
        over = threading.Event()  # nothing more is to be tried in this batch
        with ThreadPoolExecutor(self._limit) as threads:
            try:
                yield lambda request: threads.submit(self._answer, request, over)
            except BaseException:  # Ctrl-C: nobody waits for what still runs
                over.set()
                threads.shutdown(wait=False, cancel_futures=True)
                for worker in list(self._running):
                    worker.kill()
                raise

    def _answer(self, request: Request, over: threading.Event) -> Reply | Reason:
        late = 0
        for attempt in range(1, ATTEMPTS + 1):
            if over.is_set():
                break
            try:
                with self._worker() as worker:
                    return worker.ask(request, self._seconds)
            except TimeoutError:
                late += 1
                if late == ATTEMPTS or not self._patient:
                    return Reason.TIMEOUT
            except _NotStartedError as error:
                if attempt == ATTEMPTS and not over.is_set():
                    over.set()
                    log.error("%s; try `python -m %s </dev/null`", error, self._module)
            except EOFError:
                pass
        return Reason.INFRA_ERROR

    @contextlib.contextmanager
    def _worker(self) -> Iterator["_Worker"]:
        """A free worker for one request, which costs it its life when the request fails."""
        worker = self._slots.get()
        try:
            if worker is None or not worker.is_idle():
                self._close(worker)
                worker = self._started()
            yield worker
        except BaseException:
            self._close(worker)
            worker = None
            raise
        finally:
            self._slots.put(worker)

    def _started(self) -> "_Worker":
        worker = None
        try:
            worker = _Worker(self._module, self._environment)
            self._running.add(worker)
            reply = worker.ask(self._hello, START_SECONDS)
        except (EOFError, OSError) as error:  # OSError: no process could be made, or TimeoutError
            reply = {"error": error}
        if "error" in reply:
            self._close(worker)
            raise _NotStartedError(f"worker {self._module} does not start: {reply['error']}")
        assert worker is not None
        return worker

    def _close(self, worker: "_Worker | None") -> None:
        if worker is not None:
            self._running.discard(worker)
            worker.close()


class _NotStartedError(Exception):
    """A worker ended, failed or took too long before it was ready."""


class _Worker:
    """One process and the socket to it, which is its standard input and output."""

    def __init__(self, module: str, environment: Mapping[str, str]) -> None:
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        fixed = {"PYTHONPATH": paths, "PYTHONHASHSEED": "0", "PYTHONUTF8": "1"}
        self._channel, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", module],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.DEVNULL,
                env={**kept, **fixed, **environment},
                start_new_session=True,  # a Ctrl-C reaches the parent alone
            )

    def ask(self, request: Request, seconds: float) -> Reply:
        """The reply; TimeoutError, or EOFError when the process has died or talks nonsense."""
        question, answer = json.dumps(request).encode() + b"\n", b""
        deadline = time.monotonic() + seconds
        try:
            self._channel.settimeout(seconds)
            self._channel.sendall(question)
            while not answer.endswith(b"\n"):
                answer += self._receive(deadline - time.monotonic())
                if len(answer) > MOST_BYTES:
                    raise EOFError(f"more than {MOST_BYTES} bytes in a reply")
            reply = json.loads(answer)
            if not isinstance(reply, dict):
                raise EOFError(f"{answer[:80]!r} is no reply")
        except TimeoutError:
            raise TimeoutError(f"no reply within {seconds:g} seconds") from None
        except (EOFError, OSError, ValueError, RecursionError) as error:
            raise EOFError(str(error)) from None
        return reply

    def _receive(self, left: float) -> bytes:
        """Part of a reply. One that is there already counts, if this thread is a little late."""
        if left < -GRACE:
            raise TimeoutError
        self._channel.settimeout(max(left, 0.001))
        chunk = self._channel.recv(1 << 20)
        if not chunk:
            raise EOFError("it ended without a reply")
        return chunk

    def is_idle(self) -> bool:
        """Alive and silent: what it says unasked must not answer the next request."""
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        return not poll.poll(0)

    def kill(self) -> None:
        """End it with all its children; a thread that waits for its reply gets EOFError."""
        if self._process.returncode is None:
            signal_group(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.kill()
        self._process.wait()
        self._channel.close()


def _close_all(running: set[_Worker], owner: int) -> None:
    if os.getpid() == owner:
        for worker in running:
            worker.close()
