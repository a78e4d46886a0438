"""`rlvr ui`: the MLflow pages of a sweep or a run, with the server they need."""

import socket
import subprocess
import sys
import time
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rlvr import manifest, result
from rlvr.config import load
from rlvr.errors import UserError
from rlvr.manifest import Tracking
from rlvr.paths import output_dir
from rlvr.processes import end_group
from rlvr.tracking.links import links
from rlvr.tracking.store import connect, database_file, resolve_uri, server_errors, unreachable

HOST = "127.0.0.1"
PORT = 5000  # of the links that runs and sweeps print
PATIENCE = 120.0  # seconds until the server has to answer; 11 on an idle machine
METRIC = "accuracy/trained"


def show(target: str | None, *, port: int = PORT, open_browser: bool = True) -> None:
    """Start the server of the store that `target` (a sweep, a run, `last`, or None for the newest
    sweep, if any) is recorded in, print its page and open it; returns when Ctrl-C ends the server.

    A store on a server needs none of our own: then it returns at once."""
    recorded, run_ids = _recorded(target)
    uri = recorded.uri
    assert uri is not None
    database = database_file(uri)
    if database is None:
        _present(_page(recorded, run_ids, None), open_browser)
        return
    if not database.is_file():
        raise UserError(f"there is no MLflow store {database}: nothing was tracked there yet")
    free = port if port and is_free(port) else _any_free_port()
    if port not in (0, free):
        print(f"port {port} is taken, so this is at port {free}")
    with serving(uri, free) as server:
        _present(_page(recorded, run_ids, f"http://{HOST}:{free}"), open_browser)
        print("Ctrl-C ends the server.", flush=True)
        server.wait()


def _present(page: str, open_browser: bool) -> None:
    print(page, flush=True)
    if open_browser:
        webbrowser.open(page)


def _recorded(target: str | None) -> tuple[Tracking, list[str]]:
    """Store, experiment and runs of a sweep or a run; of the default store where there is none."""
    sweeps = output_dir() / "sweeps"
    if target is None:
        newest = any(sweeps.glob(f"*/{manifest.FILE}"))
        target = "last" if newest else None
    if target is None:
        return Tracking(resolve_uri(None)), []
    directory = manifest.locate(target, sweeps)
    if not (directory / manifest.FILE).is_file():
        return _of_run(directory)
    record = manifest.load(directory)
    if record.tracking.uri is None:
        raise UserError(f"{directory} was not tracked in MLflow (tracking=mlflow does that)")
    return record.tracking, [job.run_id for job in record.jobs if job.run_id]


def _of_run(directory: Path) -> tuple[Tracking, list[str]]:
    found = result.read(directory)
    config = directory / "config.yaml"
    if found is None or found.run_id is None or not config.is_file():
        raise UserError(
            f"{directory} is neither a sweep nor a run that was tracked in MLflow: give the "
            "directory of one, or nothing for the newest sweep"
        )
    tracked = load(config).tracking
    if tracked.name != "mlflow":
        raise UserError(f"{directory} was tracked by {tracked.name}, which has a viewer of its own")
    uri = resolve_uri(tracked.uri)
    try:
        experiment = connect(uri).get_run(found.run_id).info.experiment_id
    except server_errors() as error:
        raise UserError(unreachable(uri, error)) from error
    return Tracking(uri, experiment), [found.run_id]


def _page(recorded: Tracking, run_ids: list[str], base: str | None) -> str:
    assert recorded.uri is not None
    if recorded.experiment_id is None:
        return f"{base}/#/experiments"
    found = links(
        recorded.uri,
        recorded.experiment_id,
        parent_run_id=recorded.parent_run_id,
        run_ids=run_ids,
        metric=METRIC,
        base=base,
    )
    if base is None and found["command"]:
        print(found["command"])
    page = found["runs_url"]
    assert page is not None
    return page


@contextmanager
def serving(uri: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """An MLflow server for this machine alone, which answers; it and what it started end with the
    block."""
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri]
    command += ["--host", HOST, "--port", str(port), "--workers", "1"]
    print("starting MLflow's server ...", flush=True)
    server = subprocess.Popen(  # its log, a line a request, is of no use on the terminal
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait(server, uri, port)
        yield server
    finally:
        end_group(server.pid)
        server.wait()


def _wait(server: "subprocess.Popen[bytes]", uri: str, port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while is_free(port):
        if server.poll() is not None or time.monotonic() > deadline:
            raise UserError(
                "MLflow's server did not start. To see why: mlflow ui --backend-store-uri "
                f"{uri} --port {port}"
            )
        time.sleep(0.2)


def is_free(port: int) -> bool:
    """Does nobody answer there?"""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) != 0


def _any_free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
