"""For tests of the launcher: the emulator as a fixture, and an app started as a user would."""

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

from rlvr.manifest import FILE, Job, Manifest, find, load

from .server import BUCKET, Emulator

ROOT = Path(__file__).resolve().parents[2]
APP = ROOT / "tests/launchers/sagemaker/app"
# A real container has none of this machine's code: a job must live on what was packed for it.
HIDDEN = tuple(ROOT / name for name in ("rlvr", "conf", "launchers"))


@pytest.fixture(scope="module")
def emulator_server(sdk_cache: Path) -> Iterator[Emulator]:
    with Emulator(stop_grace=15, provisioning=0.05, hide=HIDDEN) as emulator:
        emulator.client("s3").create_bucket(Bucket=BUCKET)
        emulator.sdk_cache = sdk_cache  # type: ignore[attr-defined]
        yield emulator


@pytest.fixture
def emulator(emulator_server: Emulator) -> Emulator:
    emulator_server.reset()
    return emulator_server


@dataclass
class SageMakerApp:
    """Starts sweeps of the test app on the emulator; `outputs` holds what they leave."""

    outputs: Path
    emulator: Emulator
    environment: dict[str, str]
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *overrides: str, script: Path = APP / "app.py") -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, str(script), "-m", *overrides],
            env=self.environment,
            cwd=self.outputs,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def run(self, *overrides: str, code: int = 0, timeout: float = 500, **options: Any) -> str:
        process = self.start(*overrides, **options)
        output, _ = process.communicate(timeout=timeout)
        assert process.returncode == code, output
        return output

    def interrupt(self, process: "subprocess.Popen[str]") -> str:
        """Ctrl-C; what the app has printed by its end."""
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=240)
        assert process.returncode == 130, output
        return output

    def sweep(self) -> Path:
        return find("last", root=self.outputs / "sweeps")

    def manifest(self) -> Manifest:
        return load(self.sweep())

    def states(self) -> list[str]:
        return [str(job.state) for job in self.manifest().jobs]

    def directory(self, index: int) -> Path:
        return self.sweep() / self.manifest().jobs[index].dir

    def log(self, index: int) -> str:
        return (self.directory(index) / "app.log").read_text()

    def result(self, index: int) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.directory(index) / "result.json").read_text())
        return found

    def steps(self, index: int) -> list[int]:
        lines = (self.directory(index) / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line)["step"] for line in lines]

    def wait(self, ready: Callable[[list[Job]], bool], seconds: float = 240) -> list[Job]:
        """Wait for a state of the manifest's jobs."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if any(self.outputs.glob(f"sweeps/*/{FILE}")) and ready(jobs := self.manifest().jobs):
                return jobs
            time.sleep(0.05)
        raise AssertionError(f"waited in vain; the jobs are {self.emulator.jobs}")

    def wait_steps(self, number: int, step: int = 1, seconds: float = 240) -> None:
        """Wait until `number` jobs on the emulator have trained `step` steps."""
        deadline = time.monotonic() + seconds
        while sum(self._trained(j.name) >= step for j in self.emulator.jobs.values()) < number:
            assert time.monotonic() < deadline, [j.secondary for j in self.emulator.jobs.values()]
            time.sleep(0.05)

    def _trained(self, name: str) -> int:
        files = self.emulator.folder.glob(f"{name}-*/algo-1/ml/checkpoints/run/metrics.jsonl")
        return max((len(file.read_text().splitlines()) for file in files), default=0)

    def kill(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.fixture
def cloud(tmp_path: Path, emulator: Emulator) -> Iterator[SageMakerApp]:
    environment = {
        **os.environ,
        **emulator.env(),
        "RLVR_OUTPUT_DIR": str(tmp_path),
        "RLVR_TEST_APP": str(APP),
        "XDG_CACHE_HOME": str(emulator.sdk_cache),  # type: ignore[attr-defined]
        "OMP_NUM_THREADS": "1",
    }
    made = SageMakerApp(tmp_path, emulator, environment)
    yield made
    made.kill()
