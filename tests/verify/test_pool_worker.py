"""The worker's side alone: a socket in the pool's place, which does not kill what hangs."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

HELLO = {"settings": {}, "memory": 1 << 30, "seconds": 0.5}
ECHO = {"do": "echo", "value": 1}


class Parent:
    """What the pool does, one step at a time."""

    def __init__(self) -> None:
        self.channel, theirs = socket.socketpair()
        self.channel.settimeout(20)
        paths = os.pathsep.join([str(Path(__file__).parent), os.environ["PYTHONPATH"]])
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "unreliable_worker"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                env={**os.environ, "PYTHONPATH": paths},
            )
        self.lines = self.channel.makefile("r")

    def send(self, *messages: dict[str, object]) -> None:
        self.channel.sendall(b"".join(json.dumps(m).encode() + b"\n" for m in messages))

    def reply(self) -> dict[str, object]:
        return json.loads(self.lines.readline())


@pytest.fixture
def parent() -> Iterator[Parent]:
    made = Parent()
    yield made
    made.process.kill()
    made.process.wait()
    made.lines.close()
    made.channel.close()


def test_it_is_ready_then_answers_each_line(parent: Parent) -> None:
    parent.send(HELLO, ECHO, {**ECHO, "value": "\u00e9\ud800"})
    assert parent.reply() == {"ready": True}
    assert [parent.reply()["value"] for _ in range(2)] == [1, "\u00e9\ud800"]


def test_a_line_may_arrive_in_pieces(parent: Parent) -> None:
    parent.send(HELLO)
    for piece in (b'{"do": "echo", "va', b'lue": 7}\n{"do": "ec', b'ho", "value": 8}\n'):
        parent.channel.sendall(piece)
    assert [parent.reply().get("value") for _ in range(3)] == [None, 7, 8]


def test_it_says_why_it_cannot_start_and_ends(parent: Parent) -> None:
    parent.send({**HELLO, "settings": {"how": "raises"}})
    assert parent.reply() == {"error": "ValueError: no such task"}
    assert parent.process.wait(10) == 0


def test_a_fault_is_told_and_the_next_request_is_answered(parent: Parent) -> None:
    parent.send(HELLO, {"do": "no such action"}, ECHO)
    assert [next(iter(parent.reply())) for _ in range(3)] == ["ready", "error", "value"]


def test_it_ends_when_the_parent_hangs_up(parent: Parent) -> None:
    parent.send(HELLO, ECHO)
    parent.reply()
    parent.channel.shutdown(socket.SHUT_WR)
    assert parent.process.wait(10) == 0


def test_it_ends_itself_when_nobody_kills_it_at_its_deadline(parent: Parent) -> None:
    """Even in C code, where Python's own signal handlers would wait."""
    parent.send(HELLO, {"do": "hang_in_c"})
    assert parent.process.wait(10) == -signal.SIGALRM


def test_the_deadline_is_of_one_request_and_not_of_all(parent: Parent) -> None:
    parent.send(HELLO, *[{**ECHO, "after": 0.3}] * 5)
    parent.reply()
    assert [parent.reply()["value"] for _ in range(5)] == [1] * 5
    time.sleep(1.5)
    parent.send(ECHO)
    assert parent.reply()["value"] == 1


def test_its_memory_is_limited_and_it_dumps_no_core(parent: Parent) -> None:
    parent.send(HELLO)
    parent.reply()
    limits = Path(f"/proc/{parent.process.pid}/limits").read_text().splitlines()
    found = {line[:25].strip(): line[25:].split()[:2] for line in limits}
    assert found["Max address space"] == [str(1 << 30)] * 2
    assert found["Max core file size"] == ["0", "0"]
