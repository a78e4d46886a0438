"""Log to several runs at once, each from its own process: forks.py URI RUN_ID=END ...

Importing mlflow costs seconds, so they are forked after it."""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import mlflow.store.tracking.sqlalchemy_store  # noqa: F401

from rlvr.states import State
from rlvr.tracking import open_run


def in_child(job: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            job()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return pid


def log(uri: str, run_id: str, end: str) -> None:
    tracking = SimpleNamespace(name="mlflow", uri=uri, experiment="test", system_metrics=False)
    os.environ["RLVR_RUN_ID"] = run_id
    tracker = open_run(
        tracking, name="n", directory=Path("run"), params={"pid": os.getpid()}, tags={}
    )
    for step in range(10):
        tracker.log_metrics({f"train/m{n}": float(step) for n in range(10)}, step=step)
    if end == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    tracker.finish(State(end))


if __name__ == "__main__":
    uri, *rest = sys.argv[1:]
    jobs = [job.split("=") for job in rest]
    children = [in_child(lambda job=job: log(uri, *job)) for job in jobs]
    print(*[os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children])
