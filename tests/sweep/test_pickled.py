"""`python -m rlvr.sweep.pickled` runs what the transport wrote."""

import signal
import subprocess
import time

import pytest

from rlvr.states import State
from rlvr.sweep import compose


@pytest.fixture
def start(make_sweep):
    def triple(cfg):
        if cfg.do == "raise":
            raise RuntimeError(f"shots={cfg.shots} is no good")
        if cfg.do == "wait":
            print("waiting", flush=True)
            time.sleep(60)
        return 3 * cfg.shots

    def start(*overrides):
        sweep = make_sweep(task_function=triple)
        (job,) = sweep.compose([list(overrides)], 0)
        compose.place(job, sweep.directory)
        job.directory.mkdir(parents=True)
        sweep.transport.write(job)
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        process = subprocess.Popen(
            sweep.command(job), start_new_session=True, cwd=job.directory, **output
        )
        return process, job, sweep.transport

    return start


def test_the_value_comes_back(start):
    process, job, transport = start("shots=4")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    found = transport.result(job.directory)
    assert (found.status, found.metric) == (State.finished, 12)
    assert transport.job_return(job, found).return_value == 12


def test_an_exception_comes_back_as_text(start):
    process, job, transport = start("shots=4", "do=raise")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "RuntimeError: shots=4 is no good" in output
    found = transport.result(job.directory)
    assert (found.status, found.error) == (State.failed, "RuntimeError: shots=4 is no good")
    assert "in triple" in found.traceback


def test_sigterm_ends_it(start):
    process, job, transport = start("do=wait")
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert transport.result(job.directory) is None
