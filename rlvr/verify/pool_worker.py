"""The worker's side of `rlvr.verify.pool`: reads requests, answers them, ends with its parent."""

import contextlib
import json
import os
import resource
import select
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

Request = dict[str, Any]
Reply = dict[str, Any]  # {"error": text} where the function that answers raised
Answer = Callable[[Request], Reply]

START_SECONDS = 120.0  # importing sympy on a busy machine is slow
GRACE = 0.5  # seconds after a deadline, in which the parent should have killed this process
LOOK = 1.0  # seconds between looks at whether the parent is still there


def serve(start: Callable[..., Answer]) -> None:
    """Answer requests with what `start(**settings)` returns: the last line of a worker's module.

    `start` imports what is heavy, and raises where the worker cannot work. What outlives its
    deadline ends the process from within, even in C code, so that no worker outlives its parent for
    longer. (Linux can signal a parent's death, but takes that of the starting thread for it.)
    """
    parent = os.getppid()
    channel = socket.socket(fileno=os.dup(0))
    os.dup2(2, 0)  # whatever a library reads or prints must not be a request or a reply
    os.dup2(2, 1)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    requests = _requests(channel, parent)
    hello = next(requests)
    for what, limit in ((resource.RLIMIT_AS, hello["memory"]), (resource.RLIMIT_CORE, 0)):
        with contextlib.suppress(ValueError, OSError):  # not every system can limit these
            resource.setrlimit(what, (limit, limit))
    try:
        with _deadline(START_SECONDS):
            answer = start(**hello["settings"])
    except Exception as error:
        return _send(channel, _fault(error))
    _send(channel, {"ready": True})
    for request in requests:
        with _deadline(hello["seconds"]):
            _send(channel, _reply(answer, request))


def _requests(channel: socket.socket, parent: int) -> Iterator[Request]:
    """Requests until the parent hangs up or is gone: a forked child of it keeps the line open."""
    buffer = b""
    while os.getppid() == parent:
        if not select.select([channel], [], [], LOOK)[0]:
            continue
        chunk = channel.recv(1 << 20)
        if not chunk:
            return
        *lines, buffer = (buffer + chunk).split(b"\n")
        yield from map(json.loads, lines)


@contextlib.contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    signal.setitimer(signal.ITIMER_REAL, seconds + GRACE)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)


def _reply(answer: Answer, request: Request) -> Reply:
    try:
        return answer(request)
    except Exception as error:  # MemoryError and RecursionError included: the parent must know
        return _fault(error)


def _fault(error: Exception) -> Reply:
    return {"error": f"{type(error).__name__}: {error}"[:200]}


def _send(channel: socket.socket, reply: Reply) -> None:
    channel.sendall(json.dumps(reply).encode() + b"\n")
