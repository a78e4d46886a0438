"""moto's S3 from within: no HTTP and no signature, so that objects cost next to nothing."""

from typing import Any

ACCOUNT = "123456789012"


class Store:
    @property
    def _backend(self) -> Any:
        from moto.backends import get_backend

        return get_backend("s3")[ACCOUNT]["aws"]

    def region(self, bucket: str) -> str | None:
        """Of a bucket; None where there is no such bucket."""
        found = self._backend.buckets.get(bucket)
        return None if found is None else str(found.region_name)

    def put(self, bucket: str, key: str, body: bytes) -> None:
        self._backend.put_object(bucket, key, body)

    def delete(self, bucket: str, key: str) -> None:
        self._backend.delete_object(bucket, key)

    def files(self, bucket: str, prefix: str) -> dict[str, bytes]:
        """All objects below a prefix, by what follows it in their key."""
        keys = [key for key in list(self._backend.buckets[bucket].keys) if key.startswith(prefix)]
        return {
            key.removeprefix(prefix): self._backend.get_object(bucket, key).value for key in keys
        }

    def holds(self, bucket: str, prefix: str) -> bool:
        """Whether there is any object below a prefix."""
        return any(key.startswith(prefix) for key in list(self._backend.buckets[bucket].keys))
