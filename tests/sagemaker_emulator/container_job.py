"""A training job whose container really runs on this machine, in a thread of its own."""

import shutil
import sys
import threading
import time
from pathlib import Path
from typing import Any

from .container import Tree
from .job import Job, Machine
from .sandbox import Sandbox


class ContainerJob(Job):
    def __init__(self, request: dict[str, Any], machine: Machine) -> None:
        super().__init__(request, machine)
        self._boxes: list[Sandbox] = []
        self._thread = threading.Thread(target=self._run, name=f"job-{self.name}", daemon=True)
        self._thread.start()

    def kill(self) -> None:
        self._stop.set()
        for box in self._boxes:
            box.kill()

    def join(self, timeout: float) -> None:
        self._thread.join(timeout)

    def _provisioning(self) -> float:
        return self.machine.provisioning  # a test may have it over sooner

    def _run(self) -> None:
        try:
            while self._attempt():
                self._reclaimed()
        except Exception as error:
            self._end("Failed", "Failed", f"{error}")

    def _attempt(self) -> bool:
        """One life on its instances; True if spot capacity was reclaimed."""
        asked = self._now()
        while self.live and not self._has_instances(asked):
            self._stop.wait(0.02)
        if not self.live:
            return False
        folder = self.machine.folder / f"{self.name}-{self.starts}"
        try:
            return self._live(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _live(self, folder: Path) -> bool:
        hosts = [f"algo-{i + 1}" for i in range(self.instances)]
        trees = [Tree(folder / host / "ml", self.request, self.machine.s3) for host in hosts]
        self._move("Downloading", "Downloading input data")
        for tree, host in zip(trees, hosts, strict=True):
            tree.write_config(host, hosts, self.instance_type)
            tree.download_channels()
            tree.restore_checkpoints()
        self._begin_life()
        why, code = self._train(folder, hosts, trees[0])
        self._end_life()
        trees[0].sync_checkpoints()
        if why == "interrupted":
            return True
        self._finish(why, code, trees[0])
        return False

    def _finish(self, why: str, code: int, tree: Tree) -> None:
        self._move("Uploading", "Uploading generated training model")
        faults, failed = self.machine.faults, why == "exited" and code != 0
        if why == "exited" and not failed:
            tree.lose(output=faults.take("missing_results"), copy=faults.take("missing_copies"))
            output = not faults.take("missing_outputs")
        else:
            output = not failed or faults.output_on_failure
        self.model_uri = tree.upload_artifacts(output)
        if failed:
            reason = f"AlgorithmError: {tree.failure()}, exit code: {code}"
            self._end("Failed", "Failed", reason)
        elif why == "exited":
            self._end("Completed", "Completed", "")
        else:
            self._end("Stopped", "Stopped" if why == "stopped" else why, "")

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
        readers = [self._start(box, folder / box.hostname) for box in self._boxes]
        why = self._watch(tree)
        for reader in readers:
            reader.join(timeout=5)
        codes = [box.process.wait() for box in self._boxes if box.process]
        return why, next((_exit_code(c) for c in codes if c), 0)

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

    def _watch(self, tree: Tree) -> str:
        """Wait for the containers to end, or make them; says which it was."""
        synced = time.monotonic()
        while not self._all_ended():
            time.sleep(0.02)
            if time.monotonic() - synced > 0.5:
                tree.sync_checkpoints()
                synced = time.monotonic()
            if why := self._reason_to_stop():
                self._terminate(self._grace(why))
                return why
        return "exited"

    def _all_ended(self) -> bool:
        codes = [box.process.poll() for box in self._boxes if box.process]
        if any(code not in (None, 0) for code in codes):
            for box in self._boxes:
                box.kill()
        return all(code is not None for code in codes)

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


def _exit_code(code: int) -> int:
    return code if code >= 0 else 128 - code
