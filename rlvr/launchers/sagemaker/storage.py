"""S3 as the launcher uses it: what has been uploaded once is never uploaded again."""

import hashlib
import tarfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from rlvr.errors import UserError
from rlvr.launchers.sagemaker.service import Service


@dataclass(frozen=True)
class Tree:
    """Files by relative name, on disk or in memory, and the digest of names and contents."""

    files: Mapping[str, Path | bytes]
    digest: str

    @classmethod
    def of(cls, files: Mapping[str, Path | bytes]) -> "Tree":
        """Reads every file once, whatever its size, without holding it in memory."""
        digest = hashlib.sha256()
        for name in sorted(files):
            body = files[name]
            size = len(body) if isinstance(body, bytes) else body.stat().st_size
            digest.update(f"{name}\0{size}\0".encode())
            if isinstance(body, bytes):
                digest.update(body)
                continue
            with body.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        return cls(files, digest.hexdigest()[:32])

    @classmethod
    def at(cls, path: Path) -> "Tree":
        """The file at `path`, or all below a folder; UserError where there is none."""
        if path.is_file():
            return cls.of({path.name: path})
        found = sorted(p for p in path.rglob("*") if p.is_file() and p.name != ".DS_Store")
        if not found:
            raise UserError(f"{path} holds no files to upload")
        return cls.of({p.relative_to(path).as_posix(): p for p in found})


@dataclass
class Storage:
    """One bucket and prefix. `dry` makes every upload a no-op that still says where it would go."""

    service: Service
    bucket: str
    prefix: str
    kms_key: str | None = None
    dry: bool = False
    uploads: int = 0
    _known: set[str] = field(default_factory=set)

    @property
    def client(self) -> Any:
        return self.service.s3

    def uri(self, *parts: str) -> str:
        return f"s3://{self.bucket}/{self.key(*parts)}"

    def key(self, *parts: str) -> str:
        return "/".join(part.strip("/") for part in (self.prefix, *parts) if part.strip("/"))

    def put(self, key: str, body: bytes | Path) -> None:
        """A file goes in parts where it is large."""
        if self.dry:
            return
        encryption = (
            {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self.kms_key} if self.kms_key else {}
        )
        if isinstance(body, Path):
            self.client.upload_file(str(body), self.bucket, key, ExtraArgs=encryption)
        else:
            self.client.put_object(Bucket=self.bucket, Key=key, Body=body, **encryption)
        self.uploads += 1

    def place(self, kind: str, tree: Tree) -> str:
        """Where `put_once` puts it: `s3://<bucket>/<prefix>/<kind>/<digest>/`."""
        return f"{self.uri(kind, tree.digest)}/"

    def put_once(self, kind: str, tree: Tree) -> None:
        """Upload the files to their place unless they are there.

        A marker written last, beside the folder, says that all files of it have arrived.
        """
        folder, marker = self.key(kind, tree.digest), self.key(kind, f"{tree.digest}.complete")
        if not self._exists(marker):
            for name, body in tree.files.items():
                self.put(f"{folder}/{name}", body)
            self.put(marker, b"")
        self._known.add(marker)

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

    def copy_from(self, other: "Storage", prefix: str) -> None:
        """All below a prefix, from a bucket that may be in another region."""
        for key, _ in other.walk(prefix):
            source = {"Bucket": other.bucket, "Key": key}
            self.client.copy(source, self.bucket, key, SourceClient=other.client)

    def delete(self, keys: list[str]) -> None:
        for start in range(0, len(keys), 1000):
            objects = [{"Key": key} for key in keys[start : start + 1000]]
            self.client.delete_objects(Bucket=self.bucket, Delete={"Objects": objects})


def bucket_region(service: Service, bucket: str) -> str:
    """Whichever region `service` is of: S3 names the bucket's own even where it refuses."""
    from botocore.exceptions import ClientError

    try:
        answer = service.s3.head_bucket(Bucket=bucket)
    except ClientError as error:
        answer = error.response
        if "x-amz-bucket-region" not in answer["ResponseMetadata"]["HTTPHeaders"]:
            raise
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    return str(headers.get("x-amz-bucket-region") or service.region)


def split(uri: str) -> tuple[str, str]:
    """Bucket and key of an s3:// URI."""
    parsed = urlparse(uri)
    return parsed.netloc, parsed.path.lstrip("/")
