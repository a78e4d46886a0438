"""Signals that end a run. They are raised at once, where the run is, unless something holds them
back for a moment that must not be cut in two."""

import signal
from types import FrameType
from typing import NoReturn

from rlvr import ranks

_held = False
_came: int | None = None  # while held
_told = False  # the run has been told to end: what comes while it saves changes nothing


class Terminated(KeyboardInterrupt):
    """A signal to end. Code that ends well on Ctrl-C ends well on this."""


def end_on_signals() -> None:
    """SIGTERM ends a job; so does SIGUSR2, by which Slurm says that the time is nearly up.

    Launchers may send several; a second Ctrl-C is a user who does not want to wait.
    """
    for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT):
        signal.signal(number, _arrive)


def hold() -> None:
    global _held
    _held = True


def release() -> None:
    """Raises what has come since `hold`."""
    global _held, _came
    _held = False
    number, _came = _came, None
    if number is not None:
        _arrive(number, None)


def held() -> bool:
    return _held


def came() -> bool:
    """Whether a signal is being held back."""
    return _came is not None


def end(why: str) -> NoReturn:
    """As a signal would; those that come now change nothing any more."""
    global _told
    _told = True
    raise Terminated(why)


def _arrive(number: int, frame: FrameType | None) -> None:
    global _came, _told
    if _held:
        _came = number
    elif number == signal.SIGINT and not ranks.is_rank():  # no terminal reaches a rank
        _told = True
        raise KeyboardInterrupt
    elif not _told:
        why = " (time limit or preemption)" if number == signal.SIGUSR2 else ""
        end(f"ended by {signal.Signals(number).name}{why}")
