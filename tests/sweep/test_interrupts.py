import os
import signal
import threading

import pytest

from rlvr.sweep.interrupts import Interrupts


def test_one_asks_two_insist_a_third_is_an_error():
    with Interrupts() as interrupts:
        assert not interrupts
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupts
        assert not interrupts.insistent
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupts.insistent
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_the_handlers_of_before_are_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Interrupts():
        assert signal.getsignal(signal.SIGTERM) != before[1]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_another_thread_may_use_it_and_counts_nothing():
    seen = []

    def use():
        with Interrupts() as interrupts:
            seen.append(interrupts.count)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert seen == [0]
