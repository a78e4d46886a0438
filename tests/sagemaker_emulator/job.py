"""One training job: the service's states around a container that really runs."""

import shutil
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .container import Tree
from .faults import Faults
from .logs import LogShipper
from .sandbox import Sandbox

ACCOUNT = "123456789012"
TERMINAL = ("Completed", "Failed", "Stopped")
CAPACITY = (
    "CapacityError: Unable to provision requested ML compute capacity. "
    "Please retry using a different ML instance type."
)


@dataclass(frozen=True)
class Machine:
    """How the emulated service behaves, the same for all jobs."""

    folder: Path
    region: str
    endpoint: str
    mode: str
    s3: Any
    logs: LogShipper
    faults: Faults
    hide: tuple[Path, ...] = ()
    share: list[Path] = field(default_factory=list)
    gpus: dict[str, int] = field(default_factory=dict)
    provisioning: float = 0.1
    stop_grace: float = 120.0
    spot_discount: float = 0.7


class Job:
    """Runs one CreateTrainingJob request in its own thread."""

    def __init__(self, request: dict[str, Any], machine: Machine) -> None:
        self.request, self.machine = request, machine
        self.name: str = request["TrainingJobName"]
        self.arn = f"arn:aws:sagemaker:{machine.region}:{ACCOUNT}:training-job/{self.name}"
        self.tags = {t["Key"]: t["Value"] for t in request.get("Tags", [])}
        self.status, self.secondary, self.failure_reason = "InProgress", "Starting", ""
        self.created = self.modified = time.time()
        self.started: float | None = None
        self.ended: float | None = None
        self.training_seconds = 0.0
        self.transitions: list[dict[str, Any]] = []
        self.model_uri = ""
        self.keep_alive = int(request["ResourceConfig"].get("KeepAlivePeriodInSeconds", 0))
        self.released: float | None = None
        self.starts = 0
        self._stop, self._interrupt = threading.Event(), threading.Event()
        self._boxes: list[Sandbox] = []
        self._thread = threading.Thread(target=self._run, name=f"job-{self.name}", daemon=True)
        self._move("Starting", "Launching requested ML instances")
        self._thread.start()

    @property
    def instances(self) -> int:
        return int(self.request["ResourceConfig"].get("InstanceCount", 1))

    @property
    def instance_type(self) -> str:
        return str(self.request["ResourceConfig"]["InstanceType"])

    @property
    def spot(self) -> bool:
        return bool(self.request.get("EnableManagedSpotTraining"))

    @property
    def live(self) -> bool:
        return self.status not in TERMINAL

    @property
    def warm(self) -> bool:
        """Whether the instance waits, billed, for a next job (which the emulator never reuses)."""
        return self.ended is not None and time.time() < self.ended + self.keep_alive

    @property
    def idle_seconds(self) -> float:
        """Billed after the end, until the instance was given back or its time was over."""
        if self.ended is None:
            return 0.0
        until = self.released or self.ended + self.keep_alive
        return max(0.0, min(time.time(), until) - self.ended)

    def stop(self) -> None:
        """StopTrainingJob: SIGTERM to PID 1, SIGKILL after the grace."""
        if self.live:
            self.status = "Stopping"
            self._move("Stopping", "Stopping the training job")
            self._stop.set()

    def interrupt(self) -> None:
        """Reclaim the spot instance: the job starts again from its checkpoints."""
        self._interrupt.set()

    def kill(self) -> None:
        """End the container at once (the emulator is closing)."""
        self._stop.set()
        for box in self._boxes:
            box.kill()

    def join(self, timeout: float) -> None:
        self._thread.join(timeout)

    def wait(self, timeout: float = 60) -> "Job":
        """Block until the job has ended; TimeoutError if it does not."""
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise TimeoutError(f"{self.name} is still {self.secondary} after {timeout} s")
        return self

    def _run(self) -> None:
        try:
            self._attempts()
        except Exception as error:
            self._end("Failed", "Failed", f"{error}"[:1024])

    def _attempts(self) -> None:
        while True:
            asked = time.time()
            while time.time() < asked + self.machine.provisioning and not self._stop.wait(0.02):
                pass  # a test may have it over sooner
            if self.machine.faults.no_capacity():
                return self._end("Failed", "Failed", CAPACITY)
            if self._stop.is_set():
                return self._end("Stopped", "Stopped", "")
            folder = self.machine.folder / f"{self.name}-{self.starts}"
            self.starts += 1
            try:
                if not self._attempt(folder):
                    return None
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            self._interrupt.clear()
            self._move("Interrupted", "Spot capacity was reclaimed")
            if self._waited_too_long():
                return self._end("Stopped", "MaxWaitTimeExceeded", "")
            self._move("Starting", "Preparing the instances for training")

    def _attempt(self, folder: Path) -> bool:
        """One life on an instance; True if spot capacity was reclaimed."""
        hosts = [f"algo-{i + 1}" for i in range(self.instances)]
        trees = [Tree(folder / host / "ml", self.request, self.machine.s3) for host in hosts]
        self._move("Downloading", "Downloading input data")
        for tree, host in zip(trees, hosts, strict=True):
            tree.write_config(host, hosts, self.instance_type)
            tree.download_channels()
            tree.restore_checkpoints()
        self._move("Training", "Training image download completed. Training in progress.")
        self.started = self.started or time.time()
        ending, code = self._train(folder, hosts, trees[0])
        trees[0].sync_checkpoints()
        if ending == "interrupted":
            return True
        self._finish(ending, code, trees[0])
        return False

    def _finish(self, ending: str, code: int, tree: Tree) -> None:
        failed = ending == "exited" and code != 0
        self._move("Uploading", "Uploading generated training model")
        output = not failed or self.machine.faults.output_on_failure
        self.model_uri = tree.upload_artifacts(self.name, output)
        if ending == "stopped":
            self._end("Stopped", "Stopped", "")
        elif ending == "timeout":
            self._end("Stopped", "MaxRuntimeExceeded", "")
        elif failed:
            reason = f"AlgorithmError: {tree.failure()}, exit code: {code}"
            self._end("Failed", "Failed", reason[:1024])
        else:
            self._end("Completed", "Completed", "")

    def _train(self, folder: Path, hosts: list[str], tree: Tree) -> tuple[str, int]:
        self._boxes = [
            Sandbox(
                folder / host,
                self.machine.mode,
                host,
                {h: f"127.0.0.{i + 10}" for i, h in enumerate(hosts)},
                self.machine.hide,
                self.machine.share,
            )
            for host in hosts
        ]
        began = time.monotonic()
        readers = [self._start(box, folder / box.hostname) for box in self._boxes]
        ending = self._watch(began, tree)
        for reader in readers:
            reader.join(timeout=5)
        self.training_seconds += time.monotonic() - began
        codes = [box.process.wait() for box in self._boxes if box.process]
        return ending, next((_exit_code(c) for c in codes if c), 0)

    def _start(self, box: Sandbox, folder: Path) -> threading.Thread:
        spec = self.request["AlgorithmSpecification"]
        command = [*spec.get("ContainerEntrypoint", ["train"]), *spec.get("ContainerArguments", [])]
        process = box.start(command, self._environment(folder))
        stream = f"{self.name}/{box.hostname}-{int(time.time())}{self.starts}"
        reader = threading.Thread(
            target=self.machine.logs.follow, args=(process.stdout, stream), daemon=True
        )
        reader.start()
        return reader

    def _watch(self, began: float, tree: Tree) -> str:
        """Wait for the containers to end, or make them; says which it was."""
        limit = self.request["StoppingCondition"].get("MaxRuntimeInSeconds", 86400)
        synced, why = began, ""
        while not self._all_ended():
            time.sleep(0.02)
            now = time.monotonic()
            if now - synced > 0.5:
                tree.sync_checkpoints()
                synced = now
            why = self._reason_to_stop(now - began, limit)
            if why:
                faults = self.machine.faults
                grace = faults.spot_warning if why == "interrupted" else faults.stop_grace
                self._terminate(grace if grace is not None else self.machine.stop_grace)
                return why
        return "exited"

    def _all_ended(self) -> bool:
        codes = [box.process.poll() for box in self._boxes if box.process]
        if any(code not in (None, 0) for code in codes):
            for box in self._boxes:
                box.kill()
        return all(code is not None for code in codes)

    def _reason_to_stop(self, seconds: float, limit: float) -> str:
        if self._stop.is_set():
            return "stopped"
        if self.spot and self._interrupt.is_set():
            return "interrupted"
        spent = self.training_seconds + seconds
        return "timeout" if spent > limit else ""

    def _terminate(self, grace: float) -> None:
        for box in self._boxes:
            box.signal(15)
        deadline = time.monotonic() + grace
        while time.monotonic() < deadline and any(
            box.process and box.process.poll() is None for box in self._boxes
        ):
            time.sleep(0.02)
        for box in self._boxes:
            box.kill()

    def _waited_too_long(self) -> bool:
        limit = self.request["StoppingCondition"].get("MaxWaitTimeInSeconds")
        return limit is not None and time.time() - self.created > limit

    def _environment(self, folder: Path) -> dict[str, str]:
        tools = folder / "ml" / "tools"
        tools.mkdir(exist_ok=True)
        gpus = self.machine.gpus.get(self.instance_type, 0)
        if gpus:
            fake = tools / "nvidia-smi"
            lines = "\n".join(f"echo 'GPU {i}: emulated'" for i in range(gpus))
            fake.write_text(f"#!/bin/sh\n{lines}\n")
            fake.chmod(0o755)
        return {
            "PATH": f"/opt/ml/tools:{sys.prefix}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "TRAINING_JOB_NAME": self.name,
            "TRAINING_JOB_ARN": self.arn,
            "AWS_REGION": self.machine.region,
            "AWS_DEFAULT_REGION": self.machine.region,
            "AWS_ENDPOINT_URL": self.machine.endpoint,
            "AWS_ACCESS_KEY_ID": "emulated-job",
            "AWS_SECRET_ACCESS_KEY": "emulated-job",
            "PYTHONUNBUFFERED": "1",
            **self.request.get("Environment", {}),
        }

    def _move(self, secondary: str, message: str) -> None:
        now = time.time()
        if self.transitions:
            self.transitions[-1]["EndTime"] = now
        self.secondary, self.modified = secondary, now
        self.transitions.append({"Status": secondary, "StartTime": now, "StatusMessage": message})

    def _end(self, status: str, secondary: str, reason: str) -> None:
        self.failure_reason = reason
        self.ended = time.time()
        self._move(secondary, reason)
        self.transitions[-1]["EndTime"] = self.ended
        self.status = status


def _exit_code(code: int) -> int:
    return code if code >= 0 else 128 - code
