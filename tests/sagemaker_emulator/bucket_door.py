"""S3 is moto's; before it stand its faults, and its regions."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from . import wire
from .faults import Faults
from .store import Store

ANYWHERE = ("S3:ListBuckets", "S3:PutBucket", "S3:GetBucketLocation")


class BucketDoor:
    """`uploads` are the paths of the objects that others have put."""

    def __init__(self, faults: Faults, moto: Callable[..., Iterable[bytes]]) -> None:
        self._faults, self._moto = faults, moto
        self.uploads: list[str] = []

    def answer(
        self, operation: str, environ: wire.Environ, respond: wire.StartResponse
    ) -> Iterable[bytes]:
        """To a call that is not the emulator's own."""
        if region := _elsewhere(operation, environ):
            wire.body(environ)
            return _moved(respond, environ, region)
        if operation == "S3:PutObject":
            if self._faults.deny_puts:
                wire.body(environ)
                return _error(respond, "403 Forbidden", "AccessDenied", "Access Denied")
            if self._faults.take("fail_puts"):
                wire.body(environ)
                return _slow_down(respond)
            self.uploads.append(environ["PATH_INFO"])
        if operation == "S3:GetObject":
            return self._get(environ, respond)
        return self._moto(environ, respond)

    def _get(self, environ: wire.Environ, respond: wire.StartResponse) -> Iterable[bytes]:
        if self._faults.take("fail_gets"):
            return _slow_down(respond)
        found = self._moto(environ, respond)
        truncated, pause = self._faults.take("truncated_gets"), self._faults.slow_gets
        return _halved(found, pause, truncated) if truncated or pause else found


def _elsewhere(operation: str, environ: wire.Environ) -> str | None:
    """The region of the bucket, where the call was signed for another."""
    signed = wire.scope(environ)
    if not signed or operation in ANYWHERE:
        return None
    region = Store().region(environ["PATH_INFO"].strip("/").partition("/")[0])
    return region if region != signed[2] else None


def _moved(respond: wire.StartResponse, environ: wire.Environ, region: str) -> Iterable[bytes]:
    """As S3 answers; a HEAD has no body, so that its header is all there is."""
    told = ("x-amz-bucket-region", region)
    if environ["REQUEST_METHOD"] == "HEAD":
        respond("301 Moved Permanently", [told, ("Content-Length", "0")])
        return []
    text = (
        "The bucket you are attempting to access must be addressed using the specified endpoint. "
        "Please send all future requests to this endpoint."
    )
    return _error(respond, "301 Moved Permanently", "PermanentRedirect", text, told)


def _halved(found: Iterable[bytes], pause: float, truncated: bool) -> Iterator[bytes]:
    """The first half; the second comes late, or the connection is closed instead."""
    whole = b"".join(found)
    half = len(whole) // 2
    yield whole[:half]
    time.sleep(pause)
    if not truncated:
        yield whole[half:]


def _slow_down(respond: wire.StartResponse) -> Iterable[bytes]:
    return _error(respond, "503 Slow Down", "SlowDown", "Please reduce your request rate.")


def _error(respond: wire.StartResponse, status: str, code: str, text: str, *more: Any) -> Any:
    start = '<?xml version="1.0" encoding="UTF-8"?>'
    body = f"{start}<Error><Code>{code}</Code><Message>{text}</Message></Error>"
    return wire.answer_xml(respond, status, body, *more)
