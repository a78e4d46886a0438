"""`python -m rlvr.worker` leaves a result.json whatever happens to the run."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

RUN = """
import sys, types, time, os
module = types.ModuleType("rlvr.run")
def run(cfg, run_dir):
    {body}
module.run = run
sys.modules["rlvr.run"] = module
from rlvr import worker
sys.exit(worker.main([{directory!r}]))
"""


@pytest.fixture
def job(tmp_path):
    (tmp_path / "config.yaml").write_text("shots: 2\n")
    (tmp_path / "overrides.yaml").write_text("- shots=2\n")
    return tmp_path


def start(directory, body: str) -> subprocess.Popen[str]:
    code = RUN.format(body=body, directory=str(directory))
    environment = {**os.environ, "RLVR_RUN_ID": "r1"}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def end(process) -> tuple[int, str]:
    output, _ = process.communicate(timeout=60)
    return process.returncode, output


def read(directory) -> dict:
    return json.loads((directory / "result.json").read_text())


def test_success_keeps_the_runs_own_result(job):
    body = (
        "from rlvr.result import Result; Result(status='finished', metric=cfg.shots).write(run_dir)"
    )
    assert end(start(job, body))[0] == 0
    assert read(job)["metric"] == 2


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("raise ValueError('bad')", "ValueError: bad"),
        ("sys.exit('bye')", "SystemExit: bye"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("from rlvr.errors import UserError; raise UserError('set shots=0')", "set shots=0"),
        ("pass", "RuntimeError: the run returned and left no result.json"),
    ],
)
def test_failure_is_recorded(job, body, error):
    (job / "result.json").write_text("{}")
    code, output = end(start(job, body))
    result = read(job)
    assert code == 1
    assert (result["status"], result["error"]) == ("failed", error)
    assert (result["overrides"], result["run_id"]) == (["shots=2"], "r1")
    assert ("Traceback" in output) == ("UserError" not in body)


@pytest.mark.parametrize("text", [None, "shots: [", "shots: many\n", "no_such_key: 1\n"])
def test_a_config_that_does_not_load_is_recorded(job, text):
    (job / "config.yaml").unlink() if text is None else (job / "config.yaml").write_text(text)
    assert end(start(job, "raise AssertionError('never reached')"))[0] == 1
    assert read(job)["status"] == "failed"
    assert "never reached" not in read(job)["traceback"]


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (signal.SIGTERM, "Terminated: ended by SIGTERM"),
        (signal.SIGUSR2, "Terminated: ended by SIGUSR2 (time limit or preemption)"),
    ],
)
def test_a_signal_ends_the_run_as_killed(job, number, error):
    process = start(job, "(run_dir / 'ready').touch(); time.sleep(60)")
    deadline = time.monotonic() + 30
    while not (job / "ready").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert read(job)["status"] == "running"
    process.send_signal(number)
    assert end(process)[0] == 143
    assert (read(job)["status"], read(job)["error"]) == ("killed", error)


def test_the_runs_own_killed_result_is_kept(job):
    body = (
        "from rlvr.result import Result; Result(status='killed', error='mine').write(run_dir); "
        "raise KeyboardInterrupt"
    )
    assert end(start(job, body))[0] == 143
    assert read(job)["error"] == "mine"
