"""The inside: a warm Python that forks one locked process for each execution of a candidate.

Started by `rlvr.sandbox.runner`, under whatever its backend puts around it. It sees neither tests
nor expected values, has no environment, and imports the standard library alone.
"""

import contextlib
import fcntl
import gc
import json
import operator
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from rlvr.sandbox import restrict, values
from rlvr.sandbox.restrict import MOST_FILES
from rlvr.sandbox.watch import FILE, Watch, equals_anything

READY, RUN, KILL = b"ready", b"run", b"kill"
CHANNEL = 3
HIGH = 32  # above all open files of the zygote but its own socket
OVER = 0.2  # seconds that a program which has closed its output has left to end
# What a test may do with an object that stays here.
OPERATIONS: dict[str, Callable[..., object]] = {
    "call": lambda function, *args, **kwargs: function(*args, **kwargs),
    "len": lambda sized: len(sized) if hasattr(sized, "__len__") else None,
    **{f.__name__: f for f in (list, next, bool, hasattr, getattr, setattr, operator.getitem)},
}
# Imported once, not by every candidate.
WARM = (
    "abc bisect collections copy datetime decimal fractions functools heapq itertools json math "
    "operator random re statistics string typing"
).split()


def main() -> None:
    """Serve the socket that is the standard input until the runner hangs up; settings as JSON."""
    control = socket.socket(fileno=fcntl.fcntl(0, fcntl.F_DUPFD, HIGH))
    settings: dict[str, Any] = json.loads(sys.argv[1])
    nothing = os.open(os.devnull, os.O_RDWR)
    restrict.end_with_parent()
    inside = _Inside(settings)
    _warm_up(inside.watch)
    del sys.argv[1:]
    for name in [name for name in sys.modules if name.partition(".")[0] == "rlvr"]:
        del sys.modules[name]
    for stream in range(3):
        os.dup2(nothing, stream)
    os.close(nothing)
    gc.collect()
    gc.freeze()
    control.send(READY)
    while True:
        message, files, _, _ = socket.recv_fds(control, 64, 3)
        if not message:
            return
        inside.watch.clear()
        _serve(control, _forked(inside, files), inside.watch)


def _forked(inside: "_Inside", files: list[int]) -> int:
    """A candidate's process. `files`: its channel, which as the first free number is CHANNEL, and
    a program's input and output. They are arranged here, where no page has to be copied for it."""
    for number, file in enumerate(files[1:]):
        os.dup2(file, number)
    child = os.fork()
    if child == 0:
        inside.run()
    for number, _ in enumerate(files[1:]):
        os.dup2(2, number)
    for file in files:
        os.close(file)
    return child


def _warm_up(watch: Watch) -> None:
    """Do once what each child does first: it then finds its memory in place, and forks in 2 ms."""
    for name in WARM:
        __import__(name)
    reader, writer = os.pipe()
    for _ in range(20):  # which also makes Python write what it learns about its code
        names: dict[str, Any] = {}
        exec(compile("def f(x):\n    return [x + 1, (x,), {x: 'x'}]", FILE, "exec"), names)
        call = {"name": "f", "args": values.encode([1.5]), "kwargs": values.encode({})}
        _say(writer, _called(names, call, [], watch))
        values.receive(reader, time.monotonic())
    os.close(reader)
    os.close(writer)


def _serve(control: socket.socket, child: int, watch: Watch) -> None:
    """Wait for the runner's word, end the child, report how it ended and what it tried."""
    word = control.recv(64)
    until = time.monotonic() + (OVER if word == RUN else 0.0)
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < until:
        time.sleep(0.002)
    if ended == (0, 0):
        os.kill(child, signal.SIGKILL)
        ended = os.waitpid(child, 0)
    control.send(f"{os.waitstatus_to_exitcode(ended[1])} {watch.seen()}".encode())


class _Inside:
    """What is ready before the fork, and the child that it makes."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._locked: bool = settings["locked"]
        self.watch = Watch(settings["roots"])
        self._seconds, self._reads_all = settings["seconds"], settings["reads_all"]
        self._user: int | None = None
        restrict.limit(settings["memory"])
        if self._locked:
            restrict.renounce_privileges()
            self._user = restrict.prepare_user(settings["user"], self._reads_all)
            restrict.close_files(restrict.readable(settings["roots"]), settings["roots"])
            restrict.filter_for_all().install()
            self._signals = restrict.signals_closed()
            self._program = restrict.filter_for_candidates()

    def run(self) -> None:
        """Never returns."""
        code = 1
        try:
            self._lock()
            code = _candidate(self.watch)
        except SystemExit as error:  # of a program
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
        except BaseException:
            code = 1
        finally:
            _flush()
            os._exit(code & 0xFF)

    def _lock(self) -> None:
        if self._locked:
            restrict.close_signals(self._signals)
            restrict.drop_privileges(self._user, self._reads_all)
        os.closerange(CHANNEL + 1, MOST_FILES)
        restrict.limit_candidate(self._seconds, self._user)
        if self._locked:
            restrict.lock(self._program)
        sys.setrecursionlimit(1000)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):
            stream.flush()


def _candidate(watch: Watch) -> int:
    channel = CHANNEL
    task = values.receive(channel, most=sys.maxsize)
    watch.begin()
    try:
        context = task["context"] and compile(task["context"], FILE, "exec", dont_inherit=True)
        code = compile(task["code"], FILE, "exec", dont_inherit=True)
    except BaseException as error:  # SyntaxError, MemoryError, RecursionError, UnicodeError
        return _say(channel, {"not_compiled": _described(error)})
    if task["program"]:
        _say(channel, {"ready": True})
        os.close(channel)
        module = sys.modules["__main__"]
        vars(module).clear()
        vars(module).update(__name__="__main__", __builtins__=__builtins__)
        exec(code, vars(module))
        return 0
    return _functions(channel, task, (context, code), watch)


def _functions(channel: int, task: dict[str, Any], codes: tuple[Any, ...], watch: Watch) -> int:
    """Define the candidate's functions, then answer calls until killed."""
    module = type(sys)("solution")
    sys.modules["solution"] = module
    try:
        for code in filter(None, codes):
            exec(code, vars(module))
        defined = callable(vars(module).get(task["entry_point"]))
    except BaseException as error:
        return _say(channel, {"not_run": _described(error)})
    if not defined:
        return _say(channel, {"no_entry_point": f"{task['entry_point']} is not defined"})
    _say(channel, {"ready": True})
    kept: list[object] = []
    while True:
        call = values.receive(channel, most=sys.maxsize)
        _say(channel, {"id": call["id"], **_called(vars(module), call, kept, watch)})


def _called(
    names: dict[str, Any], call: dict[str, Any], kept: list[object], watch: Watch
) -> dict[str, Any]:
    def refer(value: object) -> int:
        kept.append(value)
        return len(kept) - 1

    def given(value: object) -> object:
        if isinstance(value, values.Remote):
            return kept[value.number]
        if isinstance(value, list | tuple):
            return type(value)(map(given, value))
        if isinstance(value, dict):
            return {key: given(member) for key, member in value.items()}
        return value

    try:
        arguments: Any = given(values.decode(call["args"]))
        keywords: Any = given(values.decode(call["kwargs"]))
        function = OPERATIONS[call["operation"]] if "operation" in call else names[call["name"]]
        result = function(*arguments, **keywords)
        if equals_anything(result):
            watch.mark("always_equal")
        return {"value": values.encode(result, refer)}
    except BaseException as error:
        return {"raised": _described(error)}


def _described(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:200]
    except BaseException:
        return type(error).__name__


def _say(channel: int, message: dict[str, Any]) -> int:
    try:
        values.send(channel, message, values.MOST_BYTES)
    except (ValueError, RecursionError, MemoryError) as error:
        values.send(channel, {"id": message.get("id"), "raised": _described(error)})
    return 0
