"""The time of a run is that of all its attempts."""

import json
import os
import signal
import time

import pytest

from rlvr import attempts
from rlvr.attempts import FILE, Attempt


def test_a_killed_attempt_counts_to_its_last_beat(tmp_path, monkeypatch):
    monkeypatch.setattr(attempts, "BEAT_SECONDS", 0.05)
    if (child := os.fork()) == 0:
        with Attempt(tmp_path):
            time.sleep(0.6)
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    with Attempt(tmp_path) as second:
        assert second.earlier[0]["seconds"] == pytest.approx(0.6, abs=0.2)
        assert second.seconds == pytest.approx(second.earlier[0]["seconds"], abs=0.1)
    recorded = json.loads((tmp_path / FILE).read_text())
    assert len(recorded) == 2
    assert recorded[0]["started"] < recorded[1]["started"]


def test_only_the_main_process_writes(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with Attempt(tmp_path) as attempt:
        assert attempt.seconds >= 0
    assert not (tmp_path / FILE).exists()
