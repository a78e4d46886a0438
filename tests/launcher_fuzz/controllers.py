"""Controllers that start at once: a process that has imported everything forks one per request.

`python controllers.py` reads a JSON object a line: {"start": argv, "env": ..., "cwd": ..., "out":
file}, whose answer is a pid, or {"wait": pid}, whose answer is its exit code (negative for a
signal).
"""

import importlib
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

IMPORTED_FROM = [str(Path(__file__).parents[2] / folder) for folder in (".", "launchers", "tests")]
PRELOADED = (
    *("boto3 hydra hydra.main matplotlib.pyplot pandas rich.live scipy.stats submitit".split()),
    *("rlvr.compare.compare rlvr.compare.page rlvr.launchers.local rlvr.launchers.slurm".split()),
    *("rlvr.launchers.sagemaker.commands rlvr.launchers.sagemaker.dry_run".split()),
)


class Controllers:
    """`start` gives a pid, which may be sent any signal; `wait` its exit code."""

    def __enter__(self) -> "Controllers":
        self._forker = subprocess.Popen(
            [sys.executable, __file__],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(IMPORTED_FROM)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._forker.kill()
        self._forker.wait()

    def start(self, *argv: str, env: dict[str, str], cwd: Path, out: Path) -> int:
        return self._ask({"start": argv, "env": env, "cwd": str(cwd), "out": str(out)})

    def wait(self, pid: int) -> int:
        return self._ask({"wait": pid})

    def _ask(self, request: dict[str, Any]) -> int:
        assert self._forker.stdin is not None
        assert self._forker.stdout is not None
        self._forker.stdin.write(json.dumps(request) + "\n")
        return int(self._forker.stdout.readline())


def preload() -> None:
    for name in PRELOADED:
        importlib.import_module(name)


def serve() -> None:
    preload()
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            print(os.waitstatus_to_exitcode(status), flush=True)
        elif pid := os.fork():
            print(pid, flush=True)
        else:
            become(request)


def become(request: dict[str, Any]) -> None:
    """Run the program in this process, as if it had been started by itself."""
    os.setsid()
    output = os.open(request["out"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.argv = request["start"]
    code = 0
    try:
        if sys.argv[0] == "rlvr":
            runpy.run_module("rlvr", run_name="__main__", alter_sys=False)
        else:
            sys.path.insert(0, str(Path(sys.argv[0]).parent))
            runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    serve()
