"""What rlvr's bootstrap and worker leave on S3 and in the log, without being run.

The files are those of /opt/ml/checkpoints/run, of which SageMaker keeps a copy, as they come from
`rlvr.launchers.sagemaker.bootstrap`, `rlvr.worker` and a training.
"""

import io
import json
import tarfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import yaml

from rlvr.launchers.sagemaker.bootstrap import END_OF_LOG
from rlvr.result import FILE, Result
from rlvr.states import State

from .container import artifacts_place, split
from .job import Job
from .store import Store

FAILURE = "RuntimeError: this job was told to fail"
METRICS, PROGRESS, LIVES = "metrics.jsonl", "progress.json", "lives.json"
_QUESTIONS = 1000


class PretendedWorker:
    def __init__(self, job: Job, store: Store, metric: float, steps: int) -> None:
        self.job, self.store, self.metric, self.steps = job, store, metric, steps
        self._files: dict[str, bytes] = {}
        self._model: dict[str, bytes] = {}
        self._born = 0  # the second of the present life, in the names of its log streams

    def missing_channel(self) -> str:
        """Why the data cannot be downloaded; nothing where they can."""
        for channel in self.job.request.get("InputDataConfig", []):
            uri = channel["DataSource"]["S3DataSource"]["S3Uri"]
            if not self.store.holds(*split(uri)):
                return f"ClientError: Data download failed:No objects found under {uri}"
        return ""

    def begin(self) -> int:
        """Restore what an earlier life left; returns the step that it goes on from."""
        place = self._copy()
        self._files = self.store.files(*place) if place else {}
        self._files.pop(PROGRESS, None)
        self._born = int(time.time())
        life = 1 + json.loads(self._files.get(LIVES, b"0"))
        for name, body in {LIVES: json.dumps(life), **self._channel("job")}.items():
            self._keep(name, body)
        self._keep_result(Result(State.running))
        self._log(*[f"[rlvr] start number {life}"] * (life > 1), "[rlvr] pretended worker")
        return len(self._files.get(METRICS, b"").splitlines())

    def train(self, step: int) -> None:
        reward = step / self.steps
        line = json.dumps({"step": step, "reward/total": reward}) + "\n"
        self._keep(METRICS, self._files.get(METRICS, b"") + line.encode())
        state = {"phase": "train", "step": step, "max_steps": self.steps, "reward": reward}
        self._keep(PROGRESS, json.dumps(state))
        self._log(f"step {step}")

    def complete(self) -> None:
        right = round(self.metric * _QUESTIONS)
        share = right / _QUESTIONS
        score = {"accuracy": share, "n": _QUESTIONS, "correct": right, "pass_at_k": {"1": share}}
        score |= {"low": max(0, share - 0.03), "high": min(1, share + 0.03)}
        score |= {"reasons": {"correct": right, "wrong": _QUESTIONS - right}}
        self._keep_result(Result(State.finished, metric=self.metric, trained=score))
        self._model = {"adapter.txt": f"{self.metric}".encode()}
        self._log(f"{END_OF_LOG} 0")

    def fail(self) -> None:
        trace = f"Traceback (most recent call last):\n{FAILURE}\n"
        self._keep_result(Result(State.failed, error=FAILURE, traceback=trace))
        self._log(f"[rlvr] failure: {FAILURE}", f"{END_OF_LOG} 1")

    def end_on_sigterm(self) -> None:
        error = "KeyboardInterrupt: interrupted"
        self._keep_result(Result(State.killed, error=error))
        self._log("[rlvr] SIGTERM: the worker may save and end", f"{END_OF_LOG} 143")

    def lose_result(self, *, output: bool, copy: bool) -> None:
        """Have no result.json in output.tar.gz, or none among the checkpoints."""
        if output:
            self._files.pop(FILE)
        if copy and (place := self._copy()):
            self.store.delete(place[0], place[1] + FILE)

    def upload(self, *, output: bool) -> str:
        """Leave model.tar.gz and (if `output`) output.tar.gz; returns the model's URI."""
        bucket, base = artifacts_place(self.job.request)
        self.store.put(bucket, f"{base}/model.tar.gz", _archive(self._model))
        if output:
            self.store.put(bucket, f"{base}/output.tar.gz", _archive(self._files))
        return f"s3://{bucket}/{base}/model.tar.gz"

    def _copy(self) -> tuple[str, str] | None:
        """Bucket and prefix of what SageMaker keeps of the run's directory."""
        config = self.job.request.get("CheckpointConfig")
        if config is None:
            return None
        bucket, key = split(config["S3Uri"])
        return bucket, f"{key.rstrip('/')}/run/"

    def _channel(self, name: str) -> Mapping[str, str | bytes]:
        for channel in self.job.request.get("InputDataConfig", []):
            if channel["ChannelName"] == name:
                return self.store.files(*split(channel["DataSource"]["S3DataSource"]["S3Uri"]))
        return {}

    def _keep(self, name: str, body: str | bytes) -> None:
        self._files[name] = body.encode() if isinstance(body, str) else body
        if place := self._copy():
            self.store.put(place[0], place[1] + name, self._files[name])

    def _keep_result(self, result: Result) -> None:
        config = yaml.safe_load(self._files.get("config.yaml", b"")) or {}
        result.shots, result.seed = config.get("shots"), config.get("seed")
        result.overrides = yaml.safe_load(self._files.get("overrides.yaml", b"")) or []
        result.run_id = self.job.request.get("Environment", {}).get("RLVR_RUN_ID")
        result.seconds = self.job.training_seconds
        self._keep(FILE, json.dumps(asdict(result), indent=2) + "\n")

    def _log(self, *lines: str) -> None:
        for number in range(self.job.instances):
            stream = f"{self.job.name}/algo-{number + 1}-{self._born}{self.job.starts}"
            for line in lines:
                self.job.machine.logs.write(stream, line)


def _archive(files: dict[str, Any]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, body in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(body)
            tar.addfile(entry, io.BytesIO(body))
    return packed.getvalue()
