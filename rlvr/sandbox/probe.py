"""Does a backend hold here? `python -m rlvr.sandbox.probe BACKEND` prints "works" or why not."""

import sys

from rlvr.sandbox.backends import Backend
from rlvr.sandbox.runner import CandidateError, Limits, Sandbox, SandboxError, Task

WALLS = """
import os, socket

def tries(action):
    try:
        action()
    except (OSError, ModuleNotFoundError):
        return "closed"
    return "open"

def walls(secret, parent):
    return {
        "files": tries(lambda: open(secret).read()),
        "writing": tries(lambda: open("/tmp/rlvr-probe", "w")),
        "network": tries(lambda: socket.socket()),
        "signals": tries(lambda: os.kill(parent, 0)),
        "processes": tries(lambda: os.fork() or os._exit(0)),
        "library": tries(lambda: __import__("colorsys")),
    }
"""


def main(backend: Backend) -> str:
    import os

    try:
        sandbox = Sandbox(backend, Limits())
        with sandbox.execution() as execution:
            execution.begin(Task(WALLS, entry_point="walls"))
            found = execution.call("walls", [__file__, os.getpid()], {})
        sandbox.close()
    except (SandboxError, CandidateError, OSError, KeyError) as error:
        return f"{type(error).__name__}: {error}".replace("\n", " ")
    assert isinstance(found, dict)
    if found.pop("library") != "open":
        return "a candidate cannot import Python's own library"
    open_walls = [name for name, state in found.items() if state != "closed"]
    return f"it leaves open: {', '.join(open_walls)}" if open_walls else "works"


if __name__ == "__main__":
    print(main(Backend(sys.argv[1])))
