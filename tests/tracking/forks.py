"""Run a job in several processes at once. Importing mlflow costs seconds, so they are forked after
it. Usage: forks.py open URI COUNT, or forks.py log URI RUN_ID=END ..."""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from types import SimpleNamespace

import mlflow.store.tracking.sqlalchemy_store  # noqa: F401

from rlvr.states import State
from rlvr.tracking import open_run
from rlvr.tracking.store import open_experiment


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


def open_store(uri: str) -> None:
    assert open_experiment(uri, "shared")[1] == "1"


def log(uri: str, run_id: str, end: str) -> None:
    tracking = SimpleNamespace(name="mlflow", uri=uri, experiment="test")
    tracker = open_run(tracking, name="n", params={"pid": os.getpid()}, tags={}, run_id=run_id)
    for step in range(20):
        tracker.log_metrics({f"train/m{n}": float(step) for n in range(10)}, step=step)
    if end == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    tracker.finish(State(end))


if __name__ == "__main__":
    what, uri, *rest = sys.argv[1:]
    if what == "open":
        children = [in_child(lambda: open_store(uri)) for _ in range(int(rest[0]))]
    else:
        jobs = [job.split("=") for job in rest]
        children = [in_child(lambda job=job: log(uri, *job)) for job in jobs]
    print(*[os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children])
