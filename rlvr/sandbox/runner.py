"""The outside of the sandbox: starts the zygote, hands a candidate over and talks with it."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rlvr.sandbox import backends, values
from rlvr.sandbox.watch import signs
from rlvr.sandbox.zygote import KILL, READY, RUN

START_SECONDS = 30.0
END_SECONDS = 5.0  # for a process to be killed on a busy machine
MOST_OUTPUT = 1 << 20  # bytes that a program may print


class SandboxError(Exception):
    """The sandbox itself failed: nothing is known about the candidate."""


@dataclass(frozen=True)
class Limits:
    """Of one execution: bytes of memory, seconds in all and for one call."""

    memory: int = 512 << 20
    seconds: float = 6.0
    call_seconds: float = 2.0


@dataclass(frozen=True)
class Task:
    """A candidate, and what defines its helpers before it."""

    code: str
    context: str = ""
    entry_point: str | None = None  # None for a program


class CandidateError(Exception):
    """The candidate failed: `kind` says at what, the message how."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        self.kind = kind


class Sandbox:
    """A zygote behind a backend. One execution at a time; no result of one reaches the next."""

    def __init__(self, backend: backends.Backend, limits: Limits) -> None:
        self.backend, self.limits = backend, limits
        self._start()

    def _start(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                backends.command(self.backend, asdict(self.limits)),
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                cwd="/",  # a link in /proc would show where the run is
                env={**_SEARCH, **backends.ENVIRONMENT},
            )
        self._control.settimeout(START_SECONDS)
        if self._hear() != READY:
            self._process.kill()
            said = self._process.communicate()[1].decode(errors="replace").strip()
            raise SandboxError(f"{self.backend} does not start: {said[-300:]}")

    def _hear(self) -> bytes:
        try:
            return self._control.recv(64)
        except OSError:
            return b""

    @contextlib.contextmanager
    def execution(
        self, files: Sequence[int] = (), seconds: float | None = None
    ) -> Iterator["Execution"]:
        """A process for one candidate, killed at the end; `files` are its input and output.

        It has `seconds`, where they are fewer than the limit.
        """
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                try:
                    socket.send_fds(self._control, [RUN], [theirs.fileno(), *files])
                except OSError as error:
                    raise SandboxError(f"the zygote is gone: {error}") from None
            execution = Execution(ours.fileno(), self.limits, seconds)
            try:
                yield execution
            finally:
                execution.exit_code, execution.signs = self._end(execution.has_ended)

    def _end(self, has_ended: bool) -> tuple[int, list[str]]:
        """Exit code, and what of `rlvr.sandbox.watch.SIGNS` was seen."""
        self._control.settimeout(END_SECONDS)
        with contextlib.suppress(OSError):
            self._control.send(RUN if has_ended else KILL)
        if not (said := self._hear()):
            self.close()
            raise SandboxError("the zygote does not answer")
        code, seen = map(int, said.split())
        return code, signs(seen)

    def close(self) -> None:
        self._control.close()
        self._process.send_signal(signal.SIGKILL)
        self._process.communicate()


_SEARCH = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}


class Execution:
    """The channel to one candidate's process."""

    def __init__(self, channel: int, limits: Limits, seconds: float | None) -> None:
        self._channel, self._limits = channel, limits
        self._until = time.monotonic() + (limits.seconds if seconds is None else seconds)
        self.is_gone = False  # it has ended or hangs: nothing more can be asked
        self.has_ended = False  # set where its exit code matters
        self.exit_code: int | None = None  # both are known when it is over
        self.signs: list[str] = []

    def begin(self, task: Task) -> None:
        """Hand the candidate over; CandidateError where it does not compile or does not run."""
        self._send({**vars(task), "program": task.entry_point is None})
        message = self._receive(self._until, "to be imported")
        for kind in ("not_compiled", "not_run", "no_entry_point"):
            if isinstance(message, dict) and kind in message:
                raise CandidateError(_more_exactly(kind, message[kind]), _short(message[kind]))
        if message != {"ready": True}:
            raise self._gone("forged", "it wrote to the channel")

    def call(self, name: str, args: Sequence[object], kwargs: dict[str, object]) -> object:
        """What the candidate's function returns; CandidateError where it raises, ends or hangs."""
        return self._answer({"name": name}, args, kwargs)

    def operate(self, operation: str, args: Sequence[object], kwargs: dict[str, object]) -> object:
        """What one of the zygote's OPERATIONS makes of objects that stay inside."""
        return self._answer({"operation": operation}, args, kwargs)

    def _answer(
        self, asked: dict[str, str], args: Sequence[object], kwargs: dict[str, object]
    ) -> object:
        """The id of a call cannot be guessed, so that no answer can be sent ahead of its
        question."""
        identity = os.urandom(8).hex()
        given = {"args": values.encode(list(args)), "kwargs": values.encode(kwargs)}
        self._send({"id": identity, **asked, **given})
        until = min(self._until, time.monotonic() + self._limits.call_seconds)
        reply = self._receive(until, "for a call")
        if not isinstance(reply, dict) or reply.get("id") != identity:
            raise self._gone("forged", "it wrote to the channel")
        if "value" not in reply:
            why = reply.get("raised")
            raise CandidateError(_more_exactly("raised", why), _short(why))
        try:
            return values.decode(reply["value"], self.operate)
        except (ValueError, RecursionError) as error:
            raise CandidateError("raised", f"its result cannot be read: {_short(error)}") from None

    def output(self, pipe: int) -> bytes:
        """All that a program prints until it ends; CandidateError past the limits."""
        printed = bytearray()
        while select.select([pipe], [], [], max(0.0, self._until - time.monotonic()))[0]:
            chunk = os.read(pipe, 1 << 16)
            if not chunk:
                self.has_ended = True
                return bytes(printed)
            printed += chunk
            if len(printed) > MOST_OUTPUT:
                raise CandidateError("memory", f"it printed more than {MOST_OUTPUT} bytes")
        raise CandidateError("too_slow", f"it took longer than {self._limits.seconds:g} seconds")

    def seconds_left(self) -> float:
        return self._until - time.monotonic()

    def _send(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # it has died, which the answer shows
            values.send(self._channel, message)

    def _receive(self, until: float, what: str) -> Any:
        try:
            return values.receive(self._channel, until)
        except TimeoutError:
            raise self._gone("too_slow", f"it took too long {what}") from None
        except EOFError:
            self.has_ended = True
            raise self._gone("died", "its process ended") from None
        except ValueError as error:
            raise self._gone("forged", f"its answer cannot be read: {_short(error)}") from None

    def _gone(self, kind: str, why: str) -> CandidateError:
        self.is_gone = True
        return CandidateError(kind, why)


def _more_exactly(kind: str, why: object) -> str:
    if kind in ("not_run", "raised"):
        error = str(why).partition(":")[0]
        return {"MemoryError": "memory", "SystemExit": "exited"}.get(error, kind)
    return kind


def _short(text: object) -> str:
    """Of what the candidate says, a line that any log can hold."""
    return json.dumps(str(text)[:160])[1:-1]
