"""What a candidate tries that no task needs, noticed inside its own process.

Python's audit hooks (PEP 578) tell of it. Marks are in memory that is shared with the zygote, so
that they outlive the process. A candidate may wipe them out: they are counted, they stop nothing.
"""

import mmap
import sys
from collections.abc import Sequence

# One byte of the shared memory each.
SIGNS = ("processes", "network", "files", "frames", "native", "always_equal")
FILE = "solution.py"  # the candidate's own
STREAMS = ("/dev/null", "/dev/stdin", "/dev/stdout", "/dev/stderr", "/dev/urandom")
MOST_MEMBERS = 100

_EVENTS = {
    event: sign
    for sign, events in {
        "processes": "os.fork os.forkpty os.exec os.posix_spawn os.spawn os.system os.kill "
        "os.killpg subprocess.Popen pty.spawn signal.pthread_kill",
        "network": "socket.__new__ socket.connect socket.bind socket.getaddrinfo "
        "socket.gethostbyname urllib.Request",
        "files": "open os.listdir os.scandir os.remove os.rename os.rmdir os.mkdir os.link "
        "os.symlink os.chmod os.chown os.utime os.truncate os.chdir os.setxattr os.getxattr",
        "frames": "sys._getframe sys._current_frames sys.settrace sys.setprofile "
        "object.__getattr__ gc.get_objects gc.get_referrers gc.get_referents",
        "native": "mmap.__new__",
    }.items()
    for event in events.split()
}
# The standard library raises them, too: only the candidate's own code counts.
_COMMON = ("sys._getframe", "object.__getattr__")
_PLAIN = (type(None), bool, int, float, complex, str, bytes, bytearray, set, frozenset, dict)


class Watch:
    """Made before the fork, begun in the child, read by the parent when the child is gone."""

    def __init__(self, roots: Sequence[str]) -> None:
        """`roots` are the folders of Python's library, where imports look."""
        self._shared = mmap.mmap(-1, len(SIGNS))
        self._roots = tuple(f"{root}/" for root in roots) + tuple(roots)
        self._busy = False

    def clear(self) -> None:
        self._shared[:] = bytes(len(SIGNS))

    def begin(self) -> None:
        sys.addaudithook(self._notice)

    def mark(self, sign: str) -> None:
        self._shared[SIGNS.index(sign)] = 1

    def seen(self) -> int:
        """A bit for each of SIGNS."""
        return sum(1 << place for place, byte in enumerate(self._shared[:]) if byte)

    def _notice(self, event: str, arguments: tuple[object, ...]) -> None:
        sign = "native" if event.startswith("ctypes.") else _EVENTS.get(event)
        if sign is None or self._busy:
            return
        self._busy = True
        if event in _COMMON:
            counts = sys._getframe(1).f_code.co_filename == FILE
        else:
            counts = sign != "files" or not self._is_usual(arguments[0] if arguments else None)
        self._busy = False
        if counts:
            self.mark(sign)

    def _is_usual(self, path: object) -> bool:
        """The standard streams, its own source for a traceback, the library for an import."""
        if isinstance(path, int):
            return path < 3
        return isinstance(path, str) and (
            path in (FILE, *STREAMS) or path.startswith(("<", *self._roots))
        )


def signs(seen: int) -> list[str]:
    """What `Watch.seen` means."""
    return [sign for place, sign in enumerate(SIGNS) if seen >> place & 1]


def equals_anything(value: object, depth: int = 2) -> bool:
    """Whether it, or a member of it, claims to equal an object that it cannot know."""
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        return depth > 0 and any(equals_anything(v, depth - 1) for v in value[:MOST_MEMBERS])
    if type(value) in _PLAIN:
        return False
    try:
        return bool(value == object())
    except BaseException:  # of the candidate's own method
        return False
