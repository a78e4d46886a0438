"""Processes of a sweep: who is alive, who must end with whom, and what an exit code means."""

import contextlib
import ctypes
import fcntl
import os
import signal
import sys
import threading
import time
from pathlib import Path

from rlvr.ranks import host, is_rank

PARENT = "RLVR_PARENT_PID"
GRACE = 20.0  # seconds between SIGTERM and SIGKILL
LEFTOVER_GRACE = 2.0
PR_SET_PDEATHSIG = 1


def start_time(pid: int) -> int | None:
    """Clock ticks after boot at which `pid` started; None when it is gone or already a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    values = stat.rpartition(")")[2].split()
    return None if values[0] in ("Z", "X") else int(values[19])


def is_alive(pid: int | None, started: int | None) -> bool:
    """Is the process that had `pid` and started at `started` still there?"""
    if pid is None:
        return False
    if started is not None:
        return start_time(pid) == started
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def signal_group(pid: int, number: signal.Signals) -> None:
    """Signal the process group led by `pid`; a group that is gone is no error."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def describe_exit(code: int) -> str:
    """`code` as subprocess gives it: negative for a signal."""
    if code >= 0:
        return f"ended with exit code {code} and left no result"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    hint = "; the kernel does this when memory runs out" if -code == signal.SIGKILL else ""
    return f"died with signal {-code} ({name}){hint}"


def end_with_parent() -> None:
    """In a job: get SIGTERM when the process that started it is gone, however it went.

    A worker started by hand is left alone: it may outlive its shell.
    """
    parent = int(os.environ.pop(PARENT, 0)) or (is_rank() and os.getppid())
    if not parent:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    if leads_session():
        os.killpg(os.getpid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def hold_place(run_dir: Path) -> None:
    """In a rank: as long as it lives, no other attempt at the run begins on this machine."""
    file = os.open(_place(run_dir), os.O_RDWR | os.O_CREAT)
    fcntl.flock(file, fcntl.LOCK_SH)  # until the process ends


def await_place(run_dir: Path) -> None:
    """Ranks of an earlier attempt, whose launcher was killed, may still be saving what they did."""
    with _place(run_dir).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)


def _place(run_dir: Path) -> Path:
    return run_dir / f".ranks_{host()}"


def leads_session() -> bool:
    return os.getsid(0) == os.getpid()


def end_own_group() -> None:
    """In a job that was told to end: pass SIGTERM on to whatever it started."""
    if leads_session():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.killpg(os.getpid(), signal.SIGTERM)


def end_group(pid: int) -> None:
    """End what a job left behind: its process is gone, others of its group may not be."""
    signal_group(pid, signal.SIGTERM)
    deadline = time.monotonic() + LEFTOVER_GRACE
    while group_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    signal_group(pid, signal.SIGKILL)


def group_exists(pid: int) -> bool:
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    return True
