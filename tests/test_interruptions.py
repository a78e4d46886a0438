"""Signals end a run at once, but for moments that must not be cut in two."""

import os
import signal

import pytest

from rlvr import interruptions
from rlvr.interruptions import Terminated


@pytest.fixture(autouse=True)
def handlers(monkeypatch):
    numbers = (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}
    for name, value in {"_held": False, "_came": None, "_told": False}.items():
        monkeypatch.setattr(interruptions, name, value)
    interruptions.end_on_signals()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number):
    os.kill(os.getpid(), number)


def test_a_signal_is_raised_where_the_run_is():
    with pytest.raises(Terminated, match="ended by SIGTERM"):
        send(signal.SIGTERM)


def test_launchers_may_repeat_themselves_a_user_may_insist():
    with pytest.raises(Terminated, match="preemption"):
        send(signal.SIGUSR2)
    send(signal.SIGTERM)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_held_comes_later(number):
    interruptions.hold()
    send(number)
    assert interruptions.came()
    with pytest.raises(KeyboardInterrupt):
        interruptions.release()
    interruptions.release()
    assert not interruptions.came()
