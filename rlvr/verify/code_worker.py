"""Judges code in a sandbox of its own, in processes of `rlvr.verify.pool`."""

import os
from dataclasses import asdict
from typing import Any

from rlvr.sandbox.backends import Backend
from rlvr.sandbox.judging import judge_function, judge_program
from rlvr.sandbox.runner import Limits, Sandbox, SandboxError, Task
from rlvr.verify.pool_worker import Answer, Reply, Request, serve


def start(backend: str, limits: dict[str, Any]) -> Answer:
    sandbox = Sandbox(Backend(backend), Limits(**limits))

    def judge(request: Request) -> Reply:
        """The fields of an Outcome."""
        try:
            if request["stdin"] is not None:
                texts = request["stdin"], request["stdout"], request["shown"]
                return asdict(judge_program(sandbox, request["code"], *texts))
            task = Task(request["code"], request["context"], request["entry_point"])
            return asdict(judge_function(sandbox, task, request["tests"], request["shown"]))
        except (SandboxError, OSError, MemoryError):
            os._exit(1)  # so that the pool tries again, with another sandbox

    return judge


if __name__ == "__main__":
    serve(start)
