"""S3 as the launcher uses it: what has been uploaded once is never uploaded again."""

import hashlib
import tarfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from rlvr.errors import UserError


@dataclass
class Storage:
    """One bucket and prefix. `dry` makes every upload a no-op that still says where it would go."""

    client: Any
    bucket: str
    prefix: str
    kms_key: str | None = None
    dry: bool = False
    uploads: int = 0
    _known: set[str] = field(default_factory=set)

    def uri(self, *parts: str) -> str:
        return f"s3://{self.bucket}/{self.key(*parts)}"

    def key(self, *parts: str) -> str:
        return "/".join(part.strip("/") for part in (self.prefix, *parts) if part.strip("/"))

    def put(self, key: str, body: bytes) -> None:
        if self.dry:
            return
        encryption = (
            {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self.kms_key} if self.kms_key else {}
        )
        self.client.put_object(Bucket=self.bucket, Key=key, Body=body, **encryption)
        self.uploads += 1

    def put_once(self, kind: str, contents: dict[str, bytes]) -> str:
        """Upload the files to `<prefix>/<kind>/<digest>/` unless they are there; returns the URI.

        A marker written last, beside the folder, says that all files of it have arrived.
        """
        digest = content_digest(contents)[:32]
        folder, marker = self.key(kind, digest), self.key(kind, f"{digest}.complete")
        if not self._exists(marker):
            for name, body in contents.items():
                self.put(f"{folder}/{name}", body)
            self.put(marker, b"")
        self._known.add(marker)
        return f"s3://{self.bucket}/{folder}/"

    def _exists(self, key: str) -> bool:
        if self.dry or key in self._known:
            return key in self._known
        from botocore.exceptions import ClientError

        try:
            self.client.head_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] in (403, 404):
                return False  # 403 is S3's answer to a missing key when listing is not allowed
            raise
        return True

    def get(self, key: str) -> bytes | None:
        """The object, or None where there is none."""
        from botocore.exceptions import ClientError

        try:
            body: bytes = self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404", "AccessDenied"):
                return None
            raise
        return body

    def walk(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Keys and sizes below a prefix."""
        pages = self.client.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self.bucket, Prefix=prefix):
            for item in page.get("Contents", []):
                yield item["Key"], item["Size"]

    def download(self, key: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.part")
        self.client.download_file(self.bucket, key, str(partial))
        partial.replace(target)

    def extract(self, key: str, folder: Path, skip: Collection[str] = ()) -> bool:
        """Unpack a tar.gz object into `folder`, names in `skip` left out; False without one."""
        archive = folder / f".{key.rsplit('/', 1)[-1]}"
        if not any(found == key for found, _ in self.walk(key)):
            return False
        self.download(key, archive)
        with tarfile.open(archive) as tar:
            wanted = [m for m in tar.getmembers() if m.name.removeprefix("./") not in skip]
            tar.extractall(folder, wanted, filter="data")
        archive.unlink()
        return True

    def delete(self, keys: list[str]) -> None:
        for start in range(0, len(keys), 1000):
            objects = [{"Key": key} for key in keys[start : start + 1000]]
            self.client.delete_objects(Bucket=self.bucket, Delete={"Objects": objects})


def split(uri: str) -> tuple[str, str]:
    """Bucket and key of an s3:// URI."""
    parsed = urlparse(uri)
    return parsed.netloc, parsed.path.lstrip("/")


def content_digest(contents: dict[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name in sorted(contents):
        digest.update(f"{name}\0{len(contents[name])}\0".encode())
        digest.update(contents[name])
    return digest.hexdigest()


def read_tree(path: Path) -> dict[str, bytes]:
    """The files at `path` (one file, or all below a folder) by relative name."""
    if path.is_file():
        return {path.name: path.read_bytes()}
    files = sorted(p for p in path.rglob("*") if p.is_file() and p.name != ".DS_Store")
    if not files:
        raise UserError(f"{path} holds no files to upload")
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in files}
