import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from rlvr.processes import (
    await_place,
    describe_exit,
    end_group,
    group_exists,
    is_alive,
    start_time,
)


@pytest.fixture
def sleeper():
    process = subprocess.Popen(["sleep", "60"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def test_alive_means_the_same_process(sleeper):
    started = start_time(sleeper.pid)
    assert is_alive(sleeper.pid, started)
    assert not is_alive(sleeper.pid, started + 1)
    sleeper.kill()
    deadline = time.monotonic() + 5
    while is_alive(sleeper.pid, started):
        assert time.monotonic() < deadline, "a zombie is not alive"
    assert not is_alive(None, None)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (1, "ended with exit code 1 and left no result"),
        (-9, "died with signal 9 (SIGKILL); the kernel does this when memory runs out"),
        (-11, "died with signal 11 (SIGSEGV)"),
        (-63, "died with signal 63 (unknown)"),
    ],
)
def test_exit_codes_in_words(code, text):
    assert describe_exit(code) == text


def test_end_group_ends_what_ignores_sigterm(tmp_path):
    shell = "(trap '' TERM; echo 1; while true; do sleep 1; done) & exit 0"
    process = subprocess.Popen(
        ["sh", "-c", shell], start_new_session=True, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "1\n"
    process.wait()
    assert group_exists(process.pid)
    end_group(process.pid)
    assert process.stdout.read() == "", "the pipe is closed: nobody holds it any more"


CHILD = """
import sys, time
from rlvr.processes import end_with_parent
end_with_parent()
print("ready", flush=True)
time.sleep(60)
"""
PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], start_new_session=True,
                         env={**os.environ, "RLVR_PARENT_PID": str(os.getpid())})
print(child.pid, flush=True)
time.sleep(60)
"""


def test_a_job_ends_with_its_parent():
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD], stdout=subprocess.PIPE, text=True
    )
    child = int(parent.stdout.readline())
    started = start_time(child)
    assert parent.stdout.readline() == "ready\n"
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 5
    while is_alive(child, started):
        assert time.monotonic() < deadline, "the job outlived its parent"
        time.sleep(0.02)


def test_a_job_whose_parent_is_gone_already_ends():
    environment = {**os.environ, "RLVR_PARENT_PID": "1"}
    job = subprocess.run([sys.executable, "-c", CHILD], env=environment, timeout=20)
    assert job.returncode == -signal.SIGTERM


RANK = """
import sys
from pathlib import Path
from rlvr.processes import hold_place

hold_place(Path(sys.argv[1]))
print(flush=True)
input()
"""


def test_a_new_attempt_waits_for_the_ranks_of_the_last_one(tmp_path):
    command = [sys.executable, "-c", RANK, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as rank:
        rank.stdout.readline()
        waiting = threading.Thread(target=await_place, args=(tmp_path,), daemon=True)
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
        rank.kill()
        waiting.join(10)
        assert not waiting.is_alive()
