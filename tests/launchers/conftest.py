"""Start the app in app/ as a user would, and look at what it leaves."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hydra.core.singleton import Singleton
from hydra.version import VersionBase
from slurm_cluster import Cluster

from rlvr.manifest import FILE, Job, Manifest, find, load

APP = Path(__file__).parent / "app" / "app.py"


@dataclass
class App:
    """One sweep's directory is found through the newest manifest in `outputs`."""

    outputs: Path
    environment: dict[str, str]
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *overrides: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(APP), "-m", *overrides],
            env=self.environment,
            cwd=self.outputs,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def run(self, *overrides: str, code: int = 0) -> str:
        process = self.start(*overrides)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == code, output
        return output

    def release(self) -> None:
        """Let the jobs with do=wait go on."""
        (self.outputs / "go").touch()

    def read_until(self, process: subprocess.Popen[str], word: str) -> None:
        assert process.stdout is not None
        assert any(word in line for line in process.stdout), f"{word!r} was never printed"

    def sweep(self) -> Path:
        return find("last", root=self.outputs / "sweeps")

    def manifest(self) -> Manifest:
        return load(self.sweep())

    def states(self) -> list[str]:
        return [str(job.state) for job in self.manifest().jobs]

    def attempts(self, index: int) -> list[dict[str, Any]]:
        path = self.sweep() / self.manifest().jobs[index].dir / "attempts.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def wait(self, ready: Callable[[list[Job]], bool]) -> list[Job]:
        """Wait for a state of the manifest's jobs."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if any(self.outputs.glob(f"sweeps/*/{FILE}")) and ready(jobs := self.manifest().jobs):
                return jobs
            time.sleep(0.05)
        raise AssertionError(f"waited in vain; the jobs are {self.states()}")

    def wait_running(self, number: int) -> list[Job]:
        """Wait until `number` jobs have reached their work."""
        return self.wait(lambda jobs: sum(bool(self.attempts(j.index)) for j in jobs) == number)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    environment = {**os.environ, "RLVR_OUTPUT_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    made = App(tmp_path, environment)
    yield made
    for process in made.processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def gone(pid: int) -> bool:
    from rlvr.processes import start_time

    return start_time(pid) is None


@pytest.fixture
def wait_gone() -> Callable[..., None]:
    def wait(*pids: int, seconds: float = 15) -> None:
        deadline = time.monotonic() + seconds
        while not all(gone(pid) for pid in pids):
            assert time.monotonic() < deadline, f"still running: {pids}"
            time.sleep(0.05)

    return wait


@pytest.fixture
def default_version_base(monkeypatch):
    """Hydra's own suite is written for Hydra's default; composing conf/ leaves "1.3" behind."""
    monkeypatch.delitem(Singleton._instances, VersionBase, raising=False)


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster.make(tmp_path_factory.mktemp("cluster"))
    yield made
    made.call("shutdown")


@pytest.fixture
def slurm(app: App, cluster: Cluster) -> App:
    """The app on a login node."""
    app.environment |= cluster.environment
    return app
