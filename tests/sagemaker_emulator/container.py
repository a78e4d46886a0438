"""The /opt/ml tree of one host: what SageMaker puts there before, and takes away after."""

import json
import os
import tarfile
from pathlib import Path
from typing import Any
from urllib.parse import urlparse


class Tree:
    """`root` is mounted at /opt/ml inside the container."""

    def __init__(self, root: Path, request: dict[str, Any], s3: Any) -> None:
        self.root, self.request, self.s3 = root, request, s3
        self._synced: dict[str, tuple[int, int]] = {}
        for name in ("input/config", "input/data", "model", "output/data", "checkpoints"):
            (root / name).mkdir(parents=True, exist_ok=True)

    def write_config(self, host: str, hosts: list[str], instance_type: str) -> None:
        channels = self.request.get("InputDataConfig", [])
        self._json("hyperparameters", self.request.get("HyperParameters", {}))
        self._json(
            "resourceconfig",
            {
                "current_host": host,
                "current_instance_type": instance_type,
                "current_group_name": "homogeneousCluster",
                "hosts": hosts,
                "network_interface_name": "lo",
            },
        )
        self._json(
            "inputdataconfig",
            {c["ChannelName"]: {"TrainingInputMode": "File"} for c in channels},
        )

    def download_channels(self) -> None:
        """Fetch every S3Prefix channel; an empty one is an error, as in the service."""
        for channel in self.request.get("InputDataConfig", []):
            uri = channel["DataSource"]["S3DataSource"]["S3Uri"]
            found = self._download(uri, self.root / "input/data" / channel["ChannelName"])
            if not found:
                raise FileNotFoundError(
                    f"ClientError: Data download failed:No objects found under {uri}"
                )

    def restore_checkpoints(self) -> None:
        config = self.request.get("CheckpointConfig")
        if config:
            self._download(config["S3Uri"].rstrip("/") + "/", self._checkpoint_dir(config))

    def sync_checkpoints(self) -> None:
        """Upload new and changed files. Like the service, it never waits for a file to be whole."""
        config = self.request.get("CheckpointConfig")
        if not config:
            return
        bucket, prefix = split(config["S3Uri"])
        folder = self._checkpoint_dir(config)
        # os.walk passes over folders that are removed meanwhile; rglob does not
        found = [Path(base, name) for base, _, names in os.walk(folder) for name in names]
        for path in sorted(found):
            name = str(path.relative_to(folder))
            try:
                stat = path.stat()
                if self._synced.get(name) == (stat.st_mtime_ns, stat.st_size):
                    continue
                body = path.read_bytes()
            except FileNotFoundError:  # renamed or removed meanwhile
                continue
            self.s3.put_object(Bucket=bucket, Key=f"{prefix.rstrip('/')}/{name}", Body=body)
            self._synced[name] = (stat.st_mtime_ns, stat.st_size)

    def lose(self, *, output: bool, copy: bool) -> None:
        """Have no result.json in output.tar.gz, or none among the checkpoints."""
        if output:
            (self.root / "output/data/result.json").unlink(missing_ok=True)
        if copy and "CheckpointConfig" in self.request:
            bucket, prefix = split(self.request["CheckpointConfig"]["S3Uri"])
            self.s3.delete_object(Bucket=bucket, Key=f"{prefix.rstrip('/')}/run/result.json")

    def upload_artifacts(self, output: bool) -> str:
        """Upload model.tar.gz and (if `output`) output.tar.gz; returns the model's URI."""
        bucket, base = artifacts_place(self.request)
        self._upload_tar(self.root / "model", bucket, f"{base}/model.tar.gz")
        if output:
            self._upload_tar(self.root / "output/data", bucket, f"{base}/output.tar.gz")
        return f"s3://{bucket}/{base}/model.tar.gz"

    def failure(self) -> str:
        path = self.root / "output/failure"
        return path.read_text(errors="replace") if path.exists() else ""

    def _checkpoint_dir(self, config: dict[str, Any]) -> Path:
        local = config.get("LocalPath", "/opt/ml/checkpoints")
        folder = self.root / os.path.relpath(local, "/opt/ml")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _json(self, name: str, value: Any) -> None:
        (self.root / "input/config" / f"{name}.json").write_text(json.dumps(value))

    def _download(self, uri: str, folder: Path) -> int:
        bucket, prefix = split(uri)
        folder.mkdir(parents=True, exist_ok=True)
        count = 0
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for item in page.get("Contents", []):
                target = folder / _relative(item["Key"], prefix)
                target.parent.mkdir(parents=True, exist_ok=True)
                self.s3.download_file(bucket, item["Key"], str(target))
                count += 1
        return count

    def _upload_tar(self, folder: Path, bucket: str, key: str) -> None:
        archive = self.root.parent / key.rsplit("/", 1)[1]
        with tarfile.open(archive, "w:gz") as tar:
            for path in sorted(folder.iterdir()):
                tar.add(path, arcname=path.name)
        self.s3.upload_file(str(archive), bucket, key)
        archive.unlink()


def _relative(key: str, prefix: str) -> str:
    # S3Prefix matching is textual: "input/code" also matches "input/code2/x"
    return key[len(prefix) :].lstrip("/") or key.rsplit("/", 1)[-1]


def artifacts_place(request: dict[str, Any]) -> tuple[str, str]:
    """Bucket and prefix of model.tar.gz and output.tar.gz."""
    bucket, prefix = split(request["OutputDataConfig"]["S3OutputPath"])
    parts = (prefix.strip("/"), request["TrainingJobName"], "output")
    return bucket, "/".join(part for part in parts if part)


def split(uri: str) -> tuple[str, str]:
    """Bucket and key of an s3:// URI."""
    parsed = urlparse(uri)
    return parsed.netloc, parsed.path.lstrip("/")
