"""What a process takes from itself for ever before it runs a candidate: our own sandbox.

Limits, privileges, then Landlock (files, TCP, signals; linux/landlock.h) and seccomp (system calls;
linux/seccomp.h). Neither needs root or namespaces, and both stack on what a container has set.
"""

import contextlib
import ctypes
import errno
import os
import resource
import struct
from collections.abc import Iterable, Mapping

from rlvr.sandbox import syscalls

_LIBC = ctypes.CDLL(None, use_errno=True)
_SYSCALL, _PRCTL, _CAPSET = _LIBC.syscall, _LIBC.prctl, _LIBC.capset  # bound before any fork
ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_KEEPCAPS = 1, 4, 8
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 22, 38
CAP_DAC_READ_SEARCH = 1 << 2
NOBODY = 65534
MOST_FILES, THREADS = 64, 64
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
PACKAGES = ("site-packages", "dist-packages")  # a benchmark's answers may be installed there


def landlock_abi() -> int:
    """0 where the kernel has no Landlock, or a container forbids it."""
    return max(0, _SYSCALL(_CREATE_RULESET, None, 0, 1))


def readable(roots: Iterable[str]) -> list[str]:
    """Of library folders what holds no installed packages. Few: each candidate copies the rules."""
    found: list[str] = []
    for root in roots:
        with contextlib.suppress(OSError):
            entries = [(entry.name, entry.path) for entry in os.scandir(root)]
            closed = [n for n, _ in entries if n.startswith("python") or n in PACKAGES]
            found += [path for n, path in entries if n not in closed] if closed else [root]
    return found


def close_files(paths: Iterable[str], listed: Iterable[str]) -> None:
    """By Landlock, for this process and its children: `paths` may be read, `listed` only listed,
    all else is closed, and so is TCP. Nothing happens where there is no Landlock."""
    abi = landlock_abi()
    if not abi:
        return
    rights = (1 << 13) - 1  # of ABI 1; then refer, truncate and ioctl on devices
    for since, right in ((2, 13), (3, 14), (5, 15)):
        rights |= (1 << right) if abi >= since else 0
    attributes = struct.pack("QQ", rights, 0b11)
    rules = _call(_CREATE_RULESET, attributes, 8 if abi < 4 else 16, 0)
    for path in (*paths, "/dev/null", "/dev/zero", "/dev/urandom"):
        _allow(rules, path, _READ_FILE | _READ_DIR)
    for path in listed:
        _allow(rules, path, _READ_DIR)
    _restrict(rules)


def signals_closed() -> int | None:
    """A ruleset for `close_signals`; None before ABI 6, which has none."""
    if landlock_abi() < 6:
        return None
    return _call(_CREATE_RULESET, struct.pack("QQQ", 0, 0, 0b11), 24, 0)


def close_signals(rules: int | None) -> None:
    """Signals to, and abstract sockets of, processes that are not its own children."""
    if rules is not None:
        _restrict(rules)


def _restrict(rules: int) -> None:
    _call(_RESTRICT_SELF, rules, 0)
    os.close(rules)


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        file = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    if not os.path.isdir(path):
        rights &= ~_READ_DIR
    _call(_ADD_RULE, rules, 1, struct.pack("=Qi", rights, file), 0)
    os.close(file)


_LOAD, _IS_EQUAL, _AT_LEAST, _ANY_OF, _END = 0x20, 0x15, 0x35, 0x45, 0x06
_KILL, _ALLOW, _DENY, _MISSING = 0x80000000, 0x7FFF0000, 0x50000 | errno.EPERM, 0x50000 | 38
_FLAGS, _SECOND, _THIRD = 16, 24, (32, 36)  # where arguments stand, low and high word

Instructions = list[tuple[int, int, int, int]]


def filter_for_all() -> "Filter":
    """What neither the zygote nor a candidate may: for this machine's architecture, KeyError where
    we have no numbers of its."""
    column, _ = ARCHITECTURES[os.uname().machine]
    program = _denied(syscalls.DENIED)
    program += [(_IS_EQUAL, 0, 1, syscalls.CLONE3[column]), (_END, 0, 0, _MISSING)]
    for call, denied in (
        (syscalls.FCNTL, syscalls.DENIED_FCNTL),
        (syscalls.IOCTL, syscalls.DENIED_IOCTL),
    ):
        program += [(_IS_EQUAL, 0, 2 + 2 * len(denied), call[column]), (_LOAD, 0, 0, _SECOND)]
        for command in denied:
            program += [(_IS_EQUAL, 0, 1, command), (_END, 0, 0, _DENY)]
        program += [(_END, 0, 0, _ALLOW)]
    return _packed(program)


def filter_for_candidates() -> "Filter":
    """What a candidate may not besides. Short, since each of them installs it: the kernel compiles
    it, and tries it with every system call that there is."""
    column, _ = ARCHITECTURES[os.uname().machine]
    program = _denied(syscalls.DENIED_TO_CANDIDATES)
    program += [(_IS_EQUAL, 0, 4, syscalls.CLONE[column]), (_LOAD, 0, 0, _FLAGS)]
    program += [(_ANY_OF, 1, 0, syscalls.CLONE_THREAD), (_END, 0, 0, _DENY), (_END, 0, 0, _ALLOW)]
    program += [(_IS_EQUAL, 0, 6, syscalls.PRLIMIT[column]), (_LOAD, 0, 0, _THIRD[0])]
    program += [(_IS_EQUAL, 0, 2, 0), (_LOAD, 0, 0, _THIRD[1]), (_IS_EQUAL, 1, 0, 0)]
    program += [(_END, 0, 0, _DENY), (_END, 0, 0, _ALLOW)]
    return _packed(program)


def _denied(calls: syscalls.Numbers) -> Instructions:
    """The architecture, then the call's number, which stays loaded where it is none of `calls`."""
    column, architecture = ARCHITECTURES[os.uname().machine]
    program = [(_LOAD, 0, 0, 4), (_IS_EQUAL, 1, 0, architecture), (_END, 0, 0, _KILL)]
    program += [(_LOAD, 0, 0, 0), (_AT_LEAST, 0, 1, 0x40000000), (_END, 0, 0, _DENY)]  # x32
    for numbers in calls.values():
        if (number := numbers[column]) is not None:
            program += [(_IS_EQUAL, 0, 1, number), (_END, 0, 0, _DENY)]
    return program


def _packed(program: Instructions) -> "Filter":
    allowed: Instructions = [*program, (_END, 0, 0, _ALLOW)]
    return Filter(b"".join(struct.pack("HBBI", *instruction) for instruction in allowed))


class Filter:
    """A program for the kernel, laid out as it reads it."""

    def __init__(self, program: bytes) -> None:
        self._code = ctypes.create_string_buffer(program)
        place = ctypes.addressof(self._code)
        self._header = ctypes.c_char_p(struct.pack("HxxxxxxP", len(program) // 8, place))

    def install(self) -> None:
        """For ever, for this process and its children; both must have no new privileges."""
        if _PRCTL(PR_SET_SECCOMP, 2, self._header, 0, 0):
            raise OSError(ctypes.get_errno(), "seccomp")


def limit(memory: int) -> None:
    """Of the zygote, and so of each candidate: bytes of address space, and nothing left behind."""
    limits: Mapping[int, int] = {
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: MOST_FILES,
        resource.RLIMIT_STACK: 8 << 20,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    for name, value in limits.items():
        resource.setrlimit(name, (value, value))


def limit_candidate(seconds: float, user: int | None) -> None:
    """Seconds on a CPU; the threads of a `user` of its own, which count by user."""
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 1))
    if user is not None:
        resource.setrlimit(resource.RLIMIT_NPROC, (THREADS, THREADS))


def prepare_user(user: int, reads_all: bool) -> int | None:
    """The user that a candidate is to become: `user`, nobody where it cannot be had, or None where
    this process may not change users. What need not wait for the candidate is done.

    With `reads_all` the right to read all files is kept: Python may lie in root's own folder, and
    Landlock says what may be read of it.
    """
    _PRCTL(PR_SET_KEEPCAPS, int(reads_all), 0, 0, 0)
    number = next(filter(_may_become, (user, NOBODY)), None)
    if number is not None:
        _take_group(number)
    return number


def _may_become(user: int) -> bool:
    """Tried by a child, since there is no way back."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(OSError):
            _take_group(user)
            os.setresuid(user, user, user)
            os._exit(0)
        os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def _take_group(number: int) -> None:
    os.setgroups([])
    os.setresgid(number, number, number)


_CAPABILITIES = struct.pack("=Ii", 0x20080522, 0)
_READING, _NONE = (struct.pack("=6I", kept, kept, 0, 0, 0, 0) for kept in (CAP_DAC_READ_SEARCH, 0))


def drop_privileges(user: int | None, reads_all: bool) -> None:
    """Become `user`, without any capability but the one to read."""
    if user is not None:
        os.setresuid(user, user, user)
    if not reads_all or _CAPSET(_CAPABILITIES, _READING):  # which may never have been there
        _CAPSET(_CAPABILITIES, _NONE)


def lock(program: Filter) -> None:
    """The last step: from here on the process can only read, reckon and answer."""
    _control(PR_SET_PDEATHSIG, 9)
    _PRCTL(PR_SET_DUMPABLE, 0, 0, 0, 0)  # where it may: sandlock forbids the call itself
    program.install()


def renounce_privileges() -> None:
    """No program that this process or a child starts has more rights; filters ask for it."""
    _control(PR_SET_NO_NEW_PRIVS, 1)


def end_with_parent() -> None:
    _control(PR_SET_PDEATHSIG, 9)


def _control(option: int, value: int) -> None:
    if _PRCTL(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def _call(number: int, *arguments: object) -> int:
    result: int = _SYSCALL(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"system call {number}")
    return result
