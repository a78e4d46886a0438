"""Neither the verdict nor the host gives way, and a healthy program is judged right afterwards."""

import os
import socket
import sysconfig
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sandbox.attacks import DRAINS, ESCAPES, FORGERIES, READ, READER, TESTS

from rlvr.sandbox.backends import Backend
from rlvr.sandbox.choose import probe
from rlvr.sandbox.judging import Outcome, judge_function
from rlvr.sandbox.runner import Limits, Sandbox, Task

SECRET = "the-secret-of-the-parent"
LIMITS = Limits(memory=256 << 20, seconds=0.8, call_seconds=0.4)
HEALTHY = Task("import math\ndef f(x): return math.comb(x, 2)", entry_point="f")


@dataclass
class Host:
    """What an escape is to reach, and whether it did."""

    canary: Path
    port: int
    unix: str
    reached: list[str]

    def state(self) -> tuple[object, ...]:
        stat = self.canary.stat()
        beside = sorted(os.listdir(self.canary.parent))
        fixed = (stat.st_mode, stat.st_uid, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_nlink)
        shared = sorted(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else []
        left = [n for n in ("/tmp/left-behind", "/tmp/full", "left-behind") if os.path.exists(n)]
        ours = [name for name in shared if name in ("left-behind", "full")]
        return self.canary.read_bytes(), fixed, beside, ours, left


@pytest.fixture(scope="module", params=[b for b in Backend if b is not Backend.none])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    if (found := probe(request.param)) != "works":
        pytest.skip(f"{request.param}: {found}")
    os.environ["RLVR_SECRET"] = SECRET
    sandbox = Sandbox(request.param, LIMITS)
    yield sandbox
    sandbox.close()
    del os.environ["RLVR_SECRET"]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    canary = tmp_path_factory.mktemp("host") / "canary"
    canary.write_text(SECRET)
    canary.chmod(0o666)
    canary.parent.chmod(0o777)
    tcp, unix, abstract = socket.create_server(("127.0.0.1", 0)), *(socket.socket(1) for _ in "ab")
    path = f"/tmp/rlvr-{os.getpid()}"
    unix.bind(path)
    abstract.bind(f"\0{path}")
    reached: list[str] = []
    for name, listener in (("tcp", tcp), ("unix", unix), ("abstract", abstract)):
        listener.listen()
        threading.Thread(target=_accept, args=(name, listener, reached), daemon=True).start()
    yield Host(canary, tcp.getsockname()[1], path, reached)
    os.remove(path)


def _accept(name: str, listener: socket.socket, reached: list[str]) -> None:
    while True:
        listener.accept()
        reached.append(name)


def judge(sandbox: Sandbox, host: Host, code: str, tests: list[str]) -> Outcome:
    """The outcome, with everything that must hold whatever a candidate does."""
    before, began = host.state(), time.monotonic()
    outcome = judge_function(sandbox, Task(code, entry_point="f"), tests)
    assert time.monotonic() - began < LIMITS.seconds + 2
    assert host.state() == before
    assert host.reached == []
    assert SECRET not in outcome.why
    outcome.why.encode("ascii")
    healthy = judge_function(sandbox, HEALTHY, ["assert f(5) == 10", "assert f(2) == 1"])
    assert (healthy.passed, healthy.failure) == (2, None), healthy
    assert children(sandbox) == []
    return outcome


def children(sandbox: Sandbox) -> list[int]:
    """Processes below the zygote."""
    zygote = sandbox._process.pid
    depth = {Backend.bubblewrap: 2, Backend.sandlock: 1}.get(sandbox.backend, 0)  # above it
    found = [zygote]
    for _ in range(depth + 1):
        found = [child for process in found for child in _below(process)]
    return found


def _below(process: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


@pytest.mark.parametrize("name", FORGERIES)
def test_no_program_forges_its_verdict(sandbox: Sandbox, host: Host, name: str) -> None:
    outcome = judge(sandbox, host, FORGERIES[name], TESTS)
    assert outcome.passed < outcome.total == 3
    assert outcome.failure is not None


@pytest.mark.parametrize("name", DRAINS)
def test_no_program_exhausts_the_machine(sandbox: Sandbox, host: Host, name: str) -> None:
    outcome = judge(sandbox, host, DRAINS[name], TESTS[:1])
    assert outcome.passed == 0
    assert outcome.failure is not None


@pytest.mark.parametrize("path", READ)
def test_no_program_reads_the_host(sandbox: Sandbox, host: Host, path: str) -> None:
    if (sandbox.backend, path) == (Backend.sandlock, "/etc/hosts"):
        pytest.skip("sandlock shows a file of its own in this place")
    meant = {
        "CANARY": str(host.canary),
        "THIS_TEST": __file__,
        "SITE_PACKAGES": os.path.join(sysconfig.get_path("purelib"), "pytest", "__init__.py"),
    }
    file = meant.get(path, path.replace("PARENT", str(os.getpid())))
    outcome = judge(sandbox, host, READER, [f"assert f({file!r}) == 'open'"])
    assert outcome.passed == 0


def test_what_must_be_closed_is_not_closed_to_everything(sandbox: Sandbox, host: Host) -> None:
    for code, given in (
        (READER, os.__file__),
        (READER, "/dev/urandom"),
        ("def f(x):\n  __import__(x)\n  return 'open'", "sqlite3.dump"),
    ):
        outcome = judge(sandbox, host, code, [f"assert f({given!r}) == 'open'"])
        assert outcome.passed == 1


@pytest.mark.parametrize("name", ESCAPES)
def test_no_program_leaves_the_sandbox(sandbox: Sandbox, host: Host, name: str) -> None:
    reach = [str(host.canary), os.getpid(), host.port, host.unix]
    outcome = judge(sandbox, host, ESCAPES[name], [f"assert f({reach!r}) == 'open'"])
    assert outcome.passed == 0, outcome
    assert outcome.failure != "not_compiled"
