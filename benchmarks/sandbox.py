"""What a sandbox costs and what it leaves behind, for each backend that works here.

    python benchmarks/sandbox.py throughput    candidates a second, beside a new Python without any
                                               isolation, one after the other and on two workers
    python benchmarks/sandbox.py loops         256 completions, a tenth of which never ends
    python benchmarks/sandbox.py endurance     10,000 executions: processes, files, memory

Prints Markdown tables. In `throughput` rounds of all ways alternate, and the median counts: other
work on the machine then hits all alike.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rlvr.sandbox.backends import Backend
from rlvr.sandbox.choose import probe
from rlvr.verify.code import CodeVerifier

CODE = "def f(x):\n    return x + 1"
TEST = "assert f(1) == 2"
LOOP = "def f(x):\n    while True: pass"
OTHERS = [
    "import os\nos._exit(1)",
    "def f(x): return 1 / 0",
    "def f(",
    "def f(x): return 'x' * 9999",
]
ROUNDS = 5
SECONDS = 3.0  # that a completion has in `loops`
PYTHON = [os.path.realpath(sys.executable), "-I", "-S", "-B", "-c", f"{CODE}\n{TEST}"]

Way = Callable[[int], None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("throughput", "loops", "endurance"))
    parser.add_argument("--executions", type=int, help="400 in a round, 10,000 in all")
    arguments = parser.parse_args()
    if arguments.what == "throughput":
        throughput(arguments.executions or 400)
    elif arguments.what == "loops":
        loops()
    else:
        endurance(arguments.executions or 10_000)


def backends() -> list[Backend]:
    return [b for b in Backend if b is not Backend.none and probe(b) == "works"]


def verified(verifier: CodeVerifier, codes: list[str]) -> list[float | None]:
    columns = {"entry_point": ["f"] * len(codes), "tests": [[TEST]] * len(codes)}
    return [verdict.reward for verdict in verifier.verify(codes, [""] * len(codes), **columns)]


def throughput(executions: int) -> None:
    ways = {"a new Python, no isolation": [plain(1), plain(2)]}
    for backend in [*backends(), Backend.none]:
        ways[f"`{backend}`"] = [sandboxed(backend, 1), sandboxed(backend, 2)]
    rounds = [
        {name: [per_second(way, executions) for way in both] for name, both in ways.items()}
        for _ in range(ROUNDS)
    ]
    print("| | one worker, a second | two workers | times a new Python |\n|---|---|---|---|")
    median = {
        name: [statistics.median(found[name][i] for found in rounds) for i in (0, 1)]
        for name in ways
    }
    for name, (one, two) in median.items():
        base = median["a new Python, no isolation"]
        print(f"| {name} | {one:.0f} | {two:.0f} | {one / base[0]:.1f}, {two / base[1]:.1f} |")


def plain(workers: int) -> Way:
    def run(count: int) -> None:
        with ThreadPoolExecutor(workers) as threads:
            list(threads.map(lambda _: subprocess.run(PYTHON, check=True), range(count)))

    return run


def sandboxed(backend: Backend, workers: int) -> Way:
    unsafe = backend is Backend.none
    verifier = CodeVerifier(sandbox=backend, workers=workers, allow_unsafe_execution=unsafe)

    def run(count: int) -> None:
        assert set(verified(verifier, [CODE] * count)) == {1.0}

    run(2 * workers)  # starts the workers
    return run


def per_second(way: Way, executions: int) -> float:
    began = time.perf_counter()
    way(executions)
    return executions / (time.perf_counter() - began)


def loops() -> None:
    print(f"| | with 26 loops of {SECONDS:g} s | without | of what is allowed |\n|---|---|---|---|")
    for backend in backends():
        verifier = CodeVerifier(sandbox=backend, seconds=SECONDS, call_seconds=SECONDS)
        healthy = [CODE] * 256
        verified(verifier, healthy)  # starts the workers
        mixed = [LOOP if number % 10 == 0 else CODE for number in range(256)]
        took = []
        for codes in (mixed, healthy):
            began = time.perf_counter()
            rewards = verified(verifier, codes)
            took.append(time.perf_counter() - began)
            assert rewards == [float(code is CODE) for code in codes]
        share = took[0] / (1.5 * SECONDS + took[1])
        print(f"| `{backend}` | {took[0]:.1f} s | {took[1]:.1f} s | {share:.0%} |", flush=True)


def endurance(executions: int) -> None:
    """The whole chain: this process, two workers, their zygotes."""
    print("| | after | seconds | processes | zombies | open files | MB |\n|---|" + "---|" * 6)
    for backend in backends():
        verifier = CodeVerifier(sandbox=backend, workers=2)
        began, done = time.perf_counter(), 0
        for goal in (executions // 10, executions):
            while done < goal:
                codes = [*[CODE] * 46, *OTHERS]
                assert verified(verifier, codes)[:47] == [*[1.0] * 46, 0.0]
                done += len(codes)
            found = " | ".join(map(str, left_behind()))
            seconds = time.perf_counter() - began
            print(f"| `{backend}` | {done} | {seconds:.0f} | {found} |", flush=True)
        del verifier


def left_behind() -> tuple[int, int, int, str]:
    """Processes below this one, the zombies among them, their open files and memory with ours."""
    ours = below(os.getpid())
    states = [Path(f"/proc/{p}/stat").read_text().rsplit(")", 1)[1].split()[0] for p in ours]
    alive = [p for p, state in zip(ours, states, strict=True) if state != "Z"]
    files = sum(len(os.listdir(f"/proc/{p}/fd")) for p in [os.getpid(), *alive])
    pages = sum(int(Path(f"/proc/{p}/statm").read_text().split()[1]) for p in [os.getpid(), *alive])
    return len(alive), states.count("Z"), files, f"{pages * os.sysconf('SC_PAGE_SIZE') / 1e6:.0f}"


def below(process: int) -> list[int]:
    tasks = Path(f"/proc/{process}/task").iterdir()
    children = [int(c) for task in tasks for c in (task / "children").read_text().split()]
    return [p for child in children for p in (child, *below(child))]


if __name__ == "__main__":
    main()
