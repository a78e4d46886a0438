"""Jobs on Amazon SageMaker, for the sweep controller; the work is in rlvr.launchers.sagemaker."""

import time
from collections.abc import Sequence
from typing import Any

from rlvr.errors import UserError
from rlvr.launchers.sagemaker.campaign import Campaign
from rlvr.launchers.sagemaker.service import Service, aws_errors, explain
from rlvr.launchers.sagemaker.settings import KEYS, Settings
from rlvr.launchers.sagemaker.storage import Storage
from rlvr.launchers.sagemaker.training_job import TrainingJob
from rlvr.manifest import Job
from rlvr.sweep.controller import Sweep
from rlvr.sweep.interrupts import Interrupts

STOPPING = 150.0  # seconds; SageMaker kills a stopping job after 120


class SageMakerRunner:
    name = "sagemaker"
    settings = KEYS - {"name", "resume"}

    def prepare(self, settings: dict[str, Any], jobs: int) -> None:
        """Check settings, credentials and bucket."""
        checked = Settings.read(settings)
        self.service = Service.connect(checked.region)
        bucket = checked.bucket
        try:
            bucket = bucket or f"sagemaker-{self.service.region}-{self.service.account}"
            self.service.s3.head_bucket(Bucket=bucket)
        except aws_errors() as error:
            where = f"bucket {bucket}: " if bucket else ""
            raise UserError(f"SageMaker cannot be used: {where}{explain(error)}") from error
        self.storage = Storage(self.service.s3, bucket, checked.prefix, checked.kms_key)

    def attachable(self, job: Job) -> bool:
        """A job that ended badly while nobody watched is not waited for: it runs again."""
        assert job.remote is not None
        name = TrainingJob.read(job.remote).name
        deadline = time.monotonic() + STOPPING
        while (status := self._status(name)) == "Stopping" and time.monotonic() < deadline:
            time.sleep(1)  # its successor would write to the same checkpoints
        return status in ("InProgress", "Stopping", "Completed")

    def _status(self, name: str) -> str | None:
        try:
            described = self.service.describe(name)
        except aws_errors() as error:
            raise UserError(f"the state of {name} is unknown: {explain(error)}") from error
        return described["TrainingJobStatus"] if described else None

    def run(self, jobs: Sequence[Job], sweep: Sweep, interrupts: Interrupts) -> None:
        Campaign(sweep, self.service, self.storage, interrupts).run(jobs)
