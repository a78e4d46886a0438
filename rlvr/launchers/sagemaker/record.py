"""The sweep's record in its bucket, by which any machine can watch, go on with and collect it.

`sweep.json` is a copy of the manifest. `requests.json` has, for each job, its files and a request
for each place that it may run at, so that nothing of the code or the configuration is needed.
"""

import json
import logging
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rlvr import manifest
from rlvr.errors import UserError
from rlvr.launchers.sagemaker.places import Place
from rlvr.launchers.sagemaker.service import aws_errors, explain
from rlvr.launchers.sagemaker.settings import SageMakerSettings
from rlvr.launchers.sagemaker.storage import Storage
from rlvr.launchers.sagemaker.training_job import Ready, Submission, TrainingJob
from rlvr.manifest import Job

log = logging.getLogger(__name__)

REQUESTS = "requests.json"
PAUSE = 5.0  # seconds between copies of the manifest


class BucketRecord:
    def __init__(self, storage: Storage, sweep_id: str) -> None:
        self.storage, self.sweep_id = storage, sweep_id
        self._copied = b""
        self._next_at = 0.0

    @property
    def uri(self) -> str:
        return self.storage.uri("sweeps", self.sweep_id)

    def _key(self, name: str) -> str:
        return self.storage.key("sweeps", self.sweep_id, name)

    def copy(self, directory: Path, *, now: bool = False) -> None:
        """Keep the copy of the manifest up to date; it may lag, since job names are no accident."""
        if time.monotonic() < self._next_at and not now:
            return
        self._next_at = time.monotonic() + PAUSE
        body = (directory / manifest.FILE).read_bytes()
        if body == self._copied:
            return
        try:
            self.storage.put(self._key(manifest.FILE), body)
            self._copied = body
        except aws_errors() as error:
            log.warning("the record in %s is not up to date: %s", self.uri, explain(error))

    def put_requests(self, submissions: Iterable[Submission]) -> None:
        stored = {s.job.index: _stored(s) for s in submissions}
        known = self.requests()
        self.storage.put(self._key(REQUESTS), json.dumps({**known, **stored}).encode())

    def requests(self) -> dict[int, dict[str, Any]]:
        """What was stored, by the job's index."""
        body = self.storage.get(self._key(REQUESTS))
        return {int(index): found for index, found in json.loads(body or b"{}").items()}

    def fetch(self, directory: Path) -> None:
        """The manifest, into a directory that has none."""
        body = self.storage.get(self._key(manifest.FILE))
        if body is None:
            raise UserError(f"{self.uri} has no record of a sweep ({manifest.FILE})")
        directory.mkdir(parents=True, exist_ok=True)
        (directory / manifest.FILE).write_bytes(body)


def _stored(submission: Submission) -> dict[str, Any]:
    return {
        "settings": asdict(submission.settings),
        "files": {name: body.decode() for name, body in submission.files.items()},
        "ready": [asdict(ready) for ready in submission.ready],
    }


def restored(job: Job, stored: dict[str, Any]) -> Submission:
    """As the machine that stored it would submit it."""
    ready = [
        Ready(Place(**found["place"]), TrainingJob(**found["training"]), found["request"])
        for found in stored["ready"]
    ]
    files = {name: text.encode() for name, text in stored["files"].items()}
    settings = SageMakerSettings(**stored["settings"])
    return Submission(job, settings, {}, [each.place for each in ready], ready, files)
