"""Engines for these tests. They need vLLM: `make test-vllm` makes an environment with it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rlvr.sampling.vllm.settings import TOKEN, VllmSettings, unusable


@pytest.fixture(scope="session")
def vllm():
    """Skips where there is none that can be used, and says why."""
    if reason := unusable():
        pytest.skip(reason)


@pytest.fixture
def settings_of(tmp_path):
    def settings(folder, **changes):
        values = {
            "model": str(folder),
            "revision": None,
            "trust_remote_code": False,
            "dtype": "float32",
            "max_model_len": 1024,
            "lora_rank": 0,
            "memory_share": 0.3,
            "log": str(tmp_path / "vllm.log"),
        }
        return VllmSettings(**{**values, **changes})

    return settings


@pytest.fixture
def token(monkeypatch):
    monkeypatch.setenv(TOKEN, "known to both")


@pytest.fixture
def waited():
    """The first true value of a condition."""

    def wait(condition):
        deadline = time.monotonic() + 300
        while not (found := condition()):
            assert time.monotonic() < deadline, "nothing happened for five minutes"
            time.sleep(0.1)
        return found

    return wait


class Serving:
    """Starts `rlvr serve`, which tests end in ways of their own."""

    def __init__(self, temporary):
        self.temporary, self.process = temporary, None
        temporary.mkdir()

    def __call__(self, *command):
        """The address on which it listens."""
        self.process = subprocess.Popen(
            [sys.executable, *command],
            env={**os.environ, "TMPDIR": str(self.temporary)},
            stdout=subprocess.PIPE,
            text=True,
        )
        line = self.process.stdout.readline()
        assert "listening on " in line
        return line.split()[-1]

    def children(self):
        pid = self.process.pid
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


@pytest.fixture
def serving(tmp_path, token):
    made = Serving(tmp_path / "temporary")
    yield made
    if made.process is None:
        return
    made.process.terminate()
    made.process.wait(60)
    made.process.stdout.close()
