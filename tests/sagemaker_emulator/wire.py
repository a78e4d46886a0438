"""HTTP as AWS's clients speak it: whose call it is, and how it is answered."""

import io
import json
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

OWN = "sagemaker-emulator-internal"
Environ = dict[str, Any]
StartResponse = Callable[..., Any]


def scope(environ: Environ) -> list[str]:
    """Of the signature: key, date, region and service; empty where nothing is signed."""
    signed = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2]
    if not signed:
        signed = parse_qs(environ["QUERY_STRING"]).get("X-Amz-Credential", [""])[0]
    found = signed.partition(",")[0].split("/")
    return found if len(found) >= 4 else []


def operation(environ: Environ) -> str:
    """SageMaker's by their own name, others as S3:PutObject."""
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    if target:
        service, _, name = target.rpartition(".")
        return str(name) if service == "SageMaker" else f"{service.split('_')[0]}:{name}"
    service = scope(environ)[3] if scope(environ) else "s3"
    if service in ("iam", "sts", "sns"):
        return f"{service.upper()}:{form(environ).get('Action', '?')}"
    return _s3_operation(environ) if service == "s3" else service


def _s3_operation(environ: Environ) -> str:
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"].strip("/")
    kind = "Object" if "/" in path else "Bucket"
    if method == "GET" and kind == "Bucket":
        if "location" in environ["QUERY_STRING"]:
            return "S3:GetBucketLocation"
        return "S3:ListObjects" if path else "S3:ListBuckets"
    if method == "POST":
        return "S3:DeleteObjects" if "delete" in environ["QUERY_STRING"] else "S3:Multipart"
    return f"S3:{method.title()}{kind}"


def form(environ: Environ) -> dict[str, str]:
    """The fields of a call of the query protocol."""
    return {key: values[0] for key, values in parse_qs(body(environ, keep=True).decode()).items()}


def body(environ: Environ, keep: bool = False) -> bytes:
    """Unread, it would be taken for the connection's next request."""
    read: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    if keep:
        environ["wsgi.input"] = io.BytesIO(read)
    return read


def json_body(environ: Environ) -> dict[str, Any]:
    """Of a call of the JSON protocol, which can still be read by others."""
    found: dict[str, Any] = json.loads(body(environ, keep=True) or b"{}")
    return found


def answer_json(respond: StartResponse, status: str, answer: dict[str, Any]) -> Iterable[bytes]:
    data = json.dumps(answer).encode()
    headers = [("Content-Type", "application/x-amz-json-1.1"), ("Content-Length", str(len(data)))]
    respond(status, headers)
    return [data]


def answer_xml(
    respond: StartResponse, status: str, text: str, *more: tuple[str, str]
) -> Iterable[bytes]:
    data = text.encode()
    headers = [("Content-Type", "text/xml"), ("Content-Length", str(len(data)))]
    respond(status, [*headers, *more])
    return [data]


def throttled(respond: StartResponse) -> Iterable[bytes]:
    error = {"__type": "ThrottlingException", "message": "Rate exceeded"}
    return answer_json(respond, "400 Bad Request", error)


def lost(respond: StartResponse) -> Iterable[bytes]:
    """Of an answer that never came, a client knows no more than this."""
    return answer_json(respond, "500 Internal Server Error", {"__type": "InternalFailure"})
