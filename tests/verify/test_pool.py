"""The killable worker pool against a worker that hangs, dies, eats memory and talks nonsense."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlvr.errors import UserError
from rlvr.processes import signal_group
from rlvr.verify import pool as pool_module
from rlvr.verify.pool import Request, WorkerPool
from rlvr.verify.verdict import Reason

HANGS = {"do": "hang"}
HANGS_IN_C = {"do": "hang_in_c"}


def make(**changes: object) -> WorkerPool:
    arguments = {"workers": 2, "seconds": 10.0} | changes
    return WorkerPool("unreliable_worker", **arguments)


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)


@pytest.fixture
def pool() -> WorkerPool:
    return make()


def echo(value: object, **more: object) -> Request:
    return {"do": "echo", "value": value, **more}


def values(replies: list) -> list:
    return [reply if isinstance(reply, Reason) else reply.get("value") for reply in replies]


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def test_replies_are_in_order_and_no_more_workers_than_allowed(pool: WorkerPool) -> None:
    replies = pool.ask([echo(i, after=0.005 * (i % 3)) for i in range(60)])
    assert values(replies) == list(range(60))
    assert len({reply["pid"] for reply in replies}) == 2
    assert pool.ask([]) == []


def test_one_request_starts_one_worker(pool: WorkerPool) -> None:
    first, second = (pool.ask([echo(1)])[0]["pid"] for _ in range(2))
    assert first == second
    assert len(pool._running) == 1


def test_what_hangs_is_killed_and_the_rest_is_answered() -> None:
    pool = make(seconds=0.5)
    start = time.monotonic()
    replies = pool.ask([echo(1), HANGS, HANGS_IN_C, echo(2)])
    assert values(replies) == [1, Reason.TIMEOUT, Reason.TIMEOUT, 2]
    assert time.monotonic() - start < 4
    assert values(pool.ask([echo(3)])) == [3]


def test_one_hang_in_ten_costs_its_deadlines_and_little_more() -> None:
    requests = [HANGS_IN_C if i % 10 == 5 else echo(i) for i in range(100)]
    pool = make(seconds=0.5)
    pool.ask([echo(0)] * 2)
    start = time.monotonic()
    replies = pool.ask(requests)
    seconds = time.monotonic() - start
    assert values(replies) == [Reason.TIMEOUT if i % 10 == 5 else i for i in range(100)]
    assert seconds < 10 * 0.5 / 2 + 5  # ten deadlines on two workers, and ten starts


def test_a_slow_answer_in_time_counts() -> None:
    assert values(make(seconds=1.5).ask([echo(1, after=1.0)])) == [1]


def test_a_worker_that_dies_is_tried_once_more(pool: WorkerPool, tmp_path: Path) -> None:
    once, always = tmp_path / "once", tmp_path / "always"
    requests = [
        {"do": "die", "file": str(once), "times": 1},
        {"do": "die", "file": str(always), "times": 99},
        echo(1),
    ]
    assert values(pool.ask(requests)) == ["lives", Reason.INFRA_ERROR, 1]
    assert (len(once.read_text()), len(always.read_text())) == (2, 2)


def test_workers_killed_while_idle_cost_no_request(pool: WorkerPool, tmp_path: Path) -> None:
    pids = [reply["pid"] for reply in pool.ask([echo(i, after=0.1) for i in range(2)])]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: not any(map(running, pids)))
    requests = [{"do": "die", "file": str(tmp_path / name), "times": 1} for name in "ab"]
    assert values(pool.ask(requests)) == ["lives"] * 2


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("raises", "worker unreliable_worker does not start: ValueError: no such task"),
        ("dies", "does not start: it ended without a reply"),
        ("hangs", "does not start: no reply within 0.7 seconds"),
    ],
)
def test_a_worker_that_does_not_start_is_given_up_at_once(
    how: str, message: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pool_module, "START_SECONDS", 0.7)
    start = time.monotonic()
    replies = make(settings={"how": how}).ask([echo(i) for i in range(500)])
    assert set(replies) == {Reason.INFRA_ERROR}
    assert time.monotonic() - start < 5
    assert message in caplog.text
    assert caplog.text.count("does not start") <= 2  # not once a request


def test_a_module_that_is_missing_says_how_to_see_why(caplog: pytest.LogCaptureFixture) -> None:
    pool = WorkerPool("no_such_worker", workers=1, seconds=1)
    assert pool.ask([echo(1)]) == [Reason.INFRA_ERROR]
    assert "try `python -m no_such_worker </dev/null`" in caplog.text


def test_a_pool_that_did_not_start_tries_again_in_the_next_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    pool = WorkerPool("late_worker", workers=2, seconds=5)
    assert pool.ask([echo(1)]) == [Reason.INFRA_ERROR]
    (tmp_path / "late_worker.py").write_text(
        (Path(__file__).parent / "unreliable_worker.py").read_text()
    )
    assert values(pool.ask([echo(1)])) == [1]


def test_no_process_can_be_made(pool: WorkerPool, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **more: object) -> None:
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert pool.ask([echo(1)] * 3) == [Reason.INFRA_ERROR] * 3
    monkeypatch.undo()
    monkeypatch.syspath_prepend(Path(__file__).parent)
    assert values(pool.ask([echo(1)])) == [1]


def test_memory_is_limited_and_the_worker_goes_on() -> None:
    pool = make(workers=1, seconds=30.0, memory=256 << 20)
    before, bomb, after = pool.ask([echo(0), {"do": "eat"}, echo(1)])
    assert bomb["error"].startswith("MemoryError")
    assert after == {"value": 1, "pid": before["pid"]}


def test_a_worker_sees_no_secrets_and_none_of_our_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret-token")
    seen = make(environment={"OMP_NUM_THREADS": "1"}).ask([{"do": "look"}])[0]
    allowed = {"PATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR", "PYTHONPATH", "LC_CTYPE"}
    ours = {"PYTHONHASHSEED", "PYTHONUTF8", "OMP_NUM_THREADS"}
    assert set(seen["environment"]) <= allowed | ours
    assert seen["environment"]["OMP_NUM_THREADS"] == "1"
    heavy = {"torch", "numpy", "transformers", "omegaconf", "hydra", "rlvr.verify.pool"}
    assert not heavy & set(seen["modules"])


def test_what_a_worker_reads_and_prints_is_no_part_of_the_protocol(pool: WorkerPool) -> None:
    seen, after = pool.ask([{"do": "look"}, echo(1)])
    assert seen["in"] == ""
    assert after["value"] == 1


@pytest.mark.parametrize(
    "text",
    ["no json\n", "5\n", "[" * 100_000 + "\n", '{"value": 1}\n{"value": 2}\n', "9" * 5000 + "\n"],
)
def test_a_reply_that_is_none_is_a_fault_and_not_an_answer(pool: WorkerPool, text: str) -> None:
    replies = pool.ask([{"do": "write", "text": text}, echo(1)])
    assert values(replies) == [Reason.INFRA_ERROR, 1]


def test_what_is_said_unasked_does_not_answer_the_next_request() -> None:
    pool = make(workers=1)
    forged = {"do": "write", "text": '{"value": "forged"}\n', "every": 0.2, "afterwards": True}
    assert values(pool.ask([forged])) == ["replied"]
    time.sleep(0.5)
    assert values(pool.ask([echo(1)])) == [1]


def test_a_flood_ends_at_its_size(pool: WorkerPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "MOST_BYTES", 1 << 20)
    flood = {"do": "write", "text": "x" * (1 << 16), "times": 10**6}
    start = time.monotonic()
    assert values(pool.ask([flood, echo(1)])) == [Reason.INFRA_ERROR, 1]
    assert time.monotonic() - start < 6


def test_a_trickle_ends_at_the_deadline() -> None:
    trickle = {"do": "write", "text": "x", "times": 10**8}
    start = time.monotonic()
    assert make(seconds=0.5).ask([trickle]) == [Reason.TIMEOUT]
    assert time.monotonic() - start < 4


def test_a_request_that_is_not_read_ends_at_the_deadline() -> None:
    pool = make(workers=1, seconds=0.5)
    pid = pool.ask([echo(1)])[0]["pid"]
    os.kill(pid, signal.SIGSTOP)
    assert pool.ask([echo("x" * (8 << 20))]) == [Reason.TIMEOUT]
    assert not running(pid)


def test_children_of_a_killed_worker_are_killed(tmp_path: Path) -> None:
    file = tmp_path / "child"
    assert make(seconds=1.0).ask([{"do": "leave_child", "file": str(file)}]) == [Reason.TIMEOUT]
    assert wait_until(lambda: not running(int(file.read_text())), 3)


def test_threads_share_a_pool() -> None:
    pool = make(workers=2)
    found: dict[int, list] = {}

    def work(number: int) -> None:
        found[number] = pool.ask([echo(f"{number}/{i}") for i in range(20)])

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {n: values(r) for n, r in found.items()} == {
        n: [f"{n}/{i}" for i in range(20)] for n in range(6)
    }
    assert len({reply["pid"] for replies in found.values() for reply in replies}) <= 2


def test_a_forked_child_uses_processes_of_its_own() -> None:
    pool = make()
    mine = pool.ask([echo(1)])[0]["pid"]
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writer, str(pool.ask([echo(2)])[0]["pid"]).encode())
        del pool
        gc.collect()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    theirs = int(os.read(reader, 100))
    assert theirs != mine
    assert wait_until(lambda: not running(theirs), 5)
    assert pool.ask([echo(3)])[0]["pid"] == mine


def test_a_pool_that_is_gone_leaves_no_process() -> None:
    pool = make()
    pids = [reply["pid"] for reply in pool.ask([echo(i, after=0.1) for i in range(2)])]
    assert all(map(running, pids))
    del pool
    gc.collect()
    assert not any(map(running, pids))


def test_ctrl_c_ends_the_call_at_once_and_the_pool_works_again() -> None:
    pool = make(seconds=60.0)
    pool.ask([echo(i, after=0.1) for i in range(2)])
    busy = [worker._process.pid for worker in pool._running]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a background job
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        pool.ask([HANGS_IN_C, {"do": "escape"}, *[echo(i) for i in range(50)]])
    signal.signal(signal.SIGINT, before)
    assert time.monotonic() - start < 3
    assert not any(map(running, busy))
    assert values(pool.ask([echo(i) for i in range(4)])) == [0, 1, 2, 3]


# The parent prints its workers' ids, then what hangs runs on.
PARENT = """
import os, signal, sys, time
from rlvr.verify.pool import WorkerPool
signal.signal(signal.SIGINT, signal.default_int_handler)
pool = WorkerPool("unreliable_worker", workers=2, seconds=float(sys.argv[1]))
two = pool.ask([{"do": "echo", "value": i, "after": 0.2} for i in range(2)])
if "fork" in sys.argv and os.fork() == 0:
    time.sleep(8)
    os._exit(0)
print(*[reply["pid"] for reply in two], flush=True)
if "hang" in sys.argv:
    pool.ask([{"do": "hang_in_c"}] * 2)
time.sleep(60)
"""


@pytest.fixture
def parent() -> Iterator[Callable[..., tuple[subprocess.Popen, list[int]]]]:
    started = []

    def start(*arguments: str) -> tuple[subprocess.Popen, list[int]]:
        paths = os.pathsep.join([str(Path(__file__).parent), os.environ["PYTHONPATH"]])
        process = subprocess.Popen(
            [sys.executable, "-c", PARENT, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": paths},
            start_new_session=True,
        )
        started.append(process)
        assert process.stdout is not None
        return process, [int(pid) for pid in process.stdout.readline().split()]

    yield start
    for process in started:
        signal_group(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize("doing", [(), ("hang",), ("fork",)], ids=["idle", "in C code", "forked"])
def test_workers_end_with_a_parent_that_is_killed(parent, doing) -> None:
    """A forked child of the parent lives on and holds the line to the workers open."""
    process, pids = parent("2", *doing)
    assert len(pids) == 2
    time.sleep(0.5)
    assert all(map(running, pids))
    process.kill()
    assert wait_until(lambda: not any(map(running, pids)), 6)


def test_ctrl_c_in_a_terminal_ends_parent_and_workers(parent) -> None:
    """A terminal signals the whole foreground group; the traceback is the parent's alone."""
    process, pids = parent("60", "hang")
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=5)
    assert errors.count("KeyboardInterrupt") == 1
    assert not any(map(running, pids))


@pytest.mark.parametrize(
    "bad", [{"seconds": 0}, {"seconds": 601}, {"workers": 0}, {"workers": 257}]
)
def test_bad_parameters(bad: dict[str, float]) -> None:
    with pytest.raises(UserError, match=f"{next(iter(bad))}={next(iter(bad.values()))}"):
        make(**bad)


@pytest.fixture(scope="module")
def shared_pool() -> Iterator[WorkerPool]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent)
        shared = make()
        shared.ask([echo(0)])
        yield shared


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(JSON, max_size=5))
def test_any_json_arrives_unchanged(shared_pool: WorkerPool, sent: list) -> None:
    assert values(shared_pool.ask([echo(value) for value in sent])) == sent
