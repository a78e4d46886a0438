"""A worker for tests/verify/test_pool.py that does to its pool what a worker should not do."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from rlvr.verify.pool_worker import Answer, Reply, Request, serve


def start(how: str = "well") -> Answer:
    if how == "raises":
        raise ValueError("no such task")
    if how == "dies":
        os._exit(3)
    if how == "hangs":
        time.sleep(600)
    return answer


def answer(request: Request) -> Reply:
    return ACTIONS[request["do"]](request)


def echo(request: Request) -> Reply:
    time.sleep(request.get("after", 0))
    return {"value": request["value"], "pid": os.getpid()}


def hang(request: Request) -> Reply:
    while True:
        pass


def hang_in_c(request: Request) -> Reply:
    return {"value": 10 ** (10**9)}


def die(request: Request) -> Reply:
    """At each of the first `times` tries, which are counted in a file."""
    tries = Path(request["file"])
    with tries.open("a") as file:
        file.write("x")
    if len(tries.read_text()) <= request["times"]:
        os._exit(1)
    return {"value": "lives"}


def eat(request: Request) -> Reply:
    """To the last byte: not even a message fits into what is left."""
    eaten: list[bytes] = []
    for size in (32 << 20, 1 << 16, 1 << 9):
        with contextlib.suppress(MemoryError):
            while True:
                eaten.append(bytes(size))
    while True:
        eaten = [eaten]  # type: ignore[list-item]


def look(request: Request) -> Reply:
    print('{"value": "printed"}', flush=True)
    return {"environment": dict(os.environ), "modules": sorted(sys.modules), "in": sys.stdin.read()}


def leave_child(request: Request) -> Reply:
    child = subprocess.Popen(["sleep", "600"])
    Path(request["file"]).write_text(str(child.pid))
    while True:
        pass


def escape(request: Request) -> Reply:
    """A process that no group signal reaches keeps the line to the pool open."""
    if os.fork() == 0:
        os.setsid()
        time.sleep(8)
        os._exit(0)
    return hang(request)


def write(request: Request) -> Reply:
    """To the pool, past the protocol and its own alarm: `text`, again and again."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    channel = socket.socket(fileno=os.dup(_channel()))
    channel.setblocking(True)

    def say() -> None:
        for _ in range(request.get("times", 1)):
            time.sleep(request.get("every", 0))
            channel.sendall(request["text"].encode())

    if request.get("afterwards"):
        threading.Thread(target=say).start()
    else:
        say()
    return {"value": "replied"}


def _channel() -> int:
    names = [int(name) for name in os.listdir("/proc/self/fd")]
    return next(fd for fd in names if fd > 2 and "socket:" in os.readlink(f"/proc/self/fd/{fd}"))


ACTIONS = {
    f.__name__: f for f in (echo, hang, hang_in_c, die, eat, look, leave_child, escape, write)
}

if __name__ == "__main__":
    serve(start)
