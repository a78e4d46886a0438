"""How many candidates a second each sandbox executes, beside a new Python without any isolation.

    python benchmarks/sandbox.py [EXECUTIONS]

Trivial programs, one after the other and on two workers. Prints a Markdown table. Rounds of all
ways alternate, and the median counts: other work on the machine then hits all alike.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from rlvr.sandbox.backends import Backend
from rlvr.sandbox.choose import probe
from rlvr.verify.code import CodeVerifier

CODE = "def f(x):\n    return x + 1"
TEST = "assert f(1) == 2"
EXECUTIONS = int(sys.argv[1]) if len(sys.argv) > 1 else 400
ROUNDS = 5
PYTHON = [os.path.realpath(sys.executable), "-I", "-S", "-B", "-c", f"{CODE}\n{TEST}"]

Way = Callable[[int], None]


def plain(workers: int) -> Way:
    def run(count: int) -> None:
        with ThreadPoolExecutor(workers) as threads:
            list(threads.map(lambda _: subprocess.run(PYTHON, check=True), range(count)))

    return run


def sandboxed(backend: Backend, workers: int) -> Way:
    unsafe = backend is Backend.none
    verifier = CodeVerifier(sandbox=backend, workers=workers, allow_unsafe_execution=unsafe)

    def run(count: int) -> None:
        columns = {"entry_point": ["f"] * count, "tests": [[TEST]] * count}
        assert all(v.correct for v in verifier.verify([CODE] * count, [""] * count, **columns))

    run(2 * workers)  # starts the workers
    return run


def per_second(way: Way) -> float:
    began = time.perf_counter()
    way(EXECUTIONS)
    return EXECUTIONS / (time.perf_counter() - began)


works = [b for b in Backend if b is Backend.none or probe(b) == "works"]
ways = {"a new Python, no isolation": [plain(1), plain(2)]}
ways |= {f"`{backend}`": [sandboxed(backend, 1), sandboxed(backend, 2)] for backend in works}
rounds = [{name: list(map(per_second, both)) for name, both in ways.items()} for _ in range(ROUNDS)]
print("| | one worker, a second | two workers |\n|---|---|---|")
for name in ways:
    one, two = (statistics.median(found[name][i] for found in rounds) for i in (0, 1))
    print(f"| {name} | {one:.0f} | {two:.0f} |")
