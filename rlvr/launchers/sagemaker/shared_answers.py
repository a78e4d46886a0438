"""What base models have answered, exchanged with the sweep's other jobs through S3.

A store's files never change and are named by their content (rlvr/evaluation/store.py), so copying
in both directions what the other side lacks is all it takes.
"""

import threading
import time
from pathlib import Path
from typing import Any

PAUSE = 5.0  # seconds between exchanges
LOOK = 0.2  # seconds between looks for a new way of asking, whose worker waits for the first one
EXCHANGED = ".exchanged"  # as in rlvr/evaluation/store.py


class SharedAnswers(threading.Thread):
    """Exchanges until `end`. What goes wrong is said once and ends the exchange, not the job."""

    def __init__(
        self, folder: Path, bucket: str, region: str, prefix: str, kms_key: str | None
    ) -> None:
        super().__init__(name="shared answers", daemon=True)
        self.folder, self.bucket, self.prefix = folder, bucket, prefix
        self.region = region
        self.encryption = (
            {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key} if kms_key else {}
        )
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.folder.is_dir():
            if self.ended.wait(LOOK):
                return
        import boto3
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            client = boto3.client("s3", region_name=self.region)
            while not self.ended.is_set():
                self.exchange(client)
                self._wait()
            self.exchange(client)  # what was answered since
        except (BotoCoreError, Boto3Error, ClientError) as error:
            print(f"[rlvr] answers of the base model are not shared: {error}", flush=True)
            for asked in self.folder.iterdir():
                (asked / EXCHANGED).touch()  # nobody need wait

    def _wait(self) -> None:
        """Until the next exchange is due, or somebody asks in a new way."""
        due = time.monotonic() + PAUSE
        while time.monotonic() < due and not self.ended.wait(LOOK):
            if any(not (asked / EXCHANGED).exists() for asked in self.folder.iterdir()):
                return

    def end(self) -> None:
        self.ended.set()
        self.join(timeout=60)

    def exchange(self, client: Any) -> None:
        """Only for the ways of asking that this job uses itself."""
        for asked in self.folder.iterdir():
            here = {file.name for file in asked.glob("*.jsonl")}
            there = self._names(client, asked.name)
            for name in there - here:
                self._fetch(client, f"{asked.name}/{name}")
            for name in here - there:
                body = (asked / name).read_bytes()
                key = f"{self.prefix}/{asked.name}/{name}"
                client.put_object(Bucket=self.bucket, Key=key, Body=body, **self.encryption)
            (asked / EXCHANGED).touch()

    def _names(self, client: Any, asked: str) -> set[str]:
        prefix = f"{self.prefix}/{asked}/"
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        return {key.removeprefix(prefix) for key in keys}

    def _fetch(self, client: Any, name: str) -> None:
        partial = self.folder / f"{Path(name).parent}/.{Path(name).name}.part"
        client.download_file(self.bucket, f"{self.prefix}/{name}", str(partial))
        partial.replace(self.folder / name)
