"""The HTTP server: our answers for training jobs, moto's for S3, logs, STS, IAM and secrets."""

import atexit
import json
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from .api import ACCOUNT, ApiError, TrainingApi, allow_all
from .faults import Faults
from .job import Job, Machine
from .logs import GROUP, LogShipper
from .sandbox import WHY_NOT, available_mode

REGION = "us-east-1"
BUCKET = "rlvr-emulated"  # the bucket the tests use
ROLE = f"arn:aws:iam::{ACCOUNT}:role/emulated-sagemaker-role"
_OWN = "sagemaker-emulator-internal"
StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class Emulator:
    """`with Emulator() as emulator:` serves on 127.0.0.1 until the block ends.

    `env()` is what a client process needs. `faults` may be changed at any time. `calls` counts
    API calls by operation ("S3:PutObject", "CreateTrainingJob", ...), the emulator's own left out.
    RuntimeError if no isolation mode works here.
    """

    def __init__(self, port: int = 0, folder: Path | None = None, **machine: Any) -> None:
        self.mode = machine.pop("mode", None) or available_mode()
        if self.mode is None:
            raise RuntimeError(WHY_NOT)
        self.faults, self.calls = Faults(), Counter[str]()
        self.requests: list[dict[str, Any]] = []
        self.request_times: list[float] = []
        self.uploads: list[str] = []
        self._port, self._options = port, machine
        self._clients: dict[str, Any] = {}
        self._own_folder = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="sagemaker-emulator-"))

    def __enter__(self) -> "Emulator":
        from moto.moto_server.werkzeug_app import (
            DomainDispatcherApplication,
            MotoRequestHandler,
            create_backend_app,
        )
        from werkzeug.serving import make_server

        self._moto = DomainDispatcherApplication(create_backend_app)
        handler = _quiet(MotoRequestHandler)
        self._server = make_server(
            "127.0.0.1", self._port, self._wsgi, threaded=True, request_handler=handler
        )
        self._server.daemon_threads = True  # type: ignore[attr-defined]
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        _forget_earlier()
        self._logs = LogShipper(self._own_client("logs"), lambda: self.faults.log_delay)
        self.machine = Machine(
            folder=self.folder,
            region=REGION,
            endpoint=self.endpoint,
            mode=str(self.mode),
            s3=self._own_client("s3"),
            logs=self._logs,
            faults=self.faults,
            **self._options,
        )
        self.api = TrainingApi(self.machine, self.client("sagemaker").meta.service_model)
        atexit.register(self.close)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def jobs(self) -> dict[str, Job]:
        """A snapshot: the server's threads add jobs at any time."""
        return dict(self.api.jobs)

    @property
    def created(self) -> list[str]:
        """Names of the jobs that were asked for, in order."""
        return [request["TrainingJobName"] for request in self.requests]

    def close(self) -> None:
        """Kill every container, stop serving, remove what was written."""
        atexit.unregister(self.close)
        for job in self.jobs.values():
            job.kill()
        for job in self.jobs.values():
            job.join(timeout=10)
        self._logs.close()
        self._server.shutdown()
        self._server.server_close()
        if self._own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def reset(self) -> None:
        """Forget finished jobs, faults and counters; kill what still runs."""
        for job in self.jobs.values():
            job.kill()
        for job in self.jobs.values():
            job.join(timeout=10)
        self.api.jobs.clear()
        self.faults.clear()
        self.calls.clear()
        self.requests.clear()
        self.request_times.clear()
        self.uploads.clear()

    def logged(self, job: str) -> list[list[str]]:
        """Lines of each of the job's CloudWatch streams, oldest stream first."""
        logs = self._own_client("logs")
        if not logs.describe_log_groups(logGroupNamePrefix=GROUP)["logGroups"]:
            return []
        found = logs.describe_log_streams(logGroupName=GROUP, logStreamNamePrefix=f"{job}/")
        names = sorted(stream["logStreamName"] for stream in found["logStreams"])
        return [
            [
                event["message"]
                for event in logs.get_log_events(
                    logGroupName=GROUP, logStreamName=name, startFromHead=True
                )["events"]
            ]
            for name in names
        ]

    def env(self) -> dict[str, str]:
        """Environment variables that point any AWS client at the emulator."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "emulated",
            "AWS_SECRET_ACCESS_KEY": "emulated",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self, service: str) -> Any:
        """A boto3 client whose calls are counted and may fail, like anybody's."""
        if service not in self._clients:
            self._clients[service] = self._client(service)
        return self._clients[service]

    def _own_client(self, service: str) -> Any:
        from botocore.config import Config

        return self._client(service, Config(user_agent_extra=_OWN, max_pool_connections=32))

    def _client(self, service: str, config: Any = None) -> Any:
        import boto3

        env = self.env()
        session = boto3.Session(env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"])
        return session.client(
            service, region_name=REGION, endpoint_url=self.endpoint, config=config
        )

    def _wsgi(self, environ: dict[str, Any], respond: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path.startswith("/_emulator"):
            return self._admin(environ, path, respond)
        own = _OWN in environ.get("HTTP_USER_AGENT", "")
        operation = _operation(environ)
        if not own:
            self.calls[operation] += 1
        service, _, name = environ.get("HTTP_X_AMZ_TARGET", "").partition(".")
        if service == "SageMaker" and name in self.api.operations:
            return self._training(name, environ, respond)
        if operation == "S3:PutObject" and not own:
            if self.faults.deny_puts:
                _body(environ)
                return _xml(respond, "403 Forbidden", _DENIED)
            if self.faults.put_fails():
                _body(environ)  # unread, it would be taken for the connection's next request
                return _xml(respond, "503 Slow Down", _SLOW_DOWN)
            self.uploads.append(path)
        if operation == "S3:GetObject" and not own and self.faults.get_fails():
            return _xml(respond, "503 Slow Down", _SLOW_DOWN)
        if operation == "Logs:GetLogEvents" and not own and self.faults.empty_pages:
            return self._log_events(environ, respond)
        if operation == "IAM:SimulatePrincipalPolicy":
            return _xml(respond, "200 OK", allow_all(["s3:PutObject"]))
        return self._moto(environ, respond)  # type: ignore[no-any-return]

    def _training(
        self, name: str, environ: dict[str, Any], respond: StartResponse
    ) -> Iterable[bytes]:
        request = json.loads(_body(environ) or b"{}")
        try:
            answer = self.api.answer(name, request)
        except ApiError as error:
            if name == "CreateTrainingJob" and self.faults.answer_lost():
                return _json(respond, "500 Internal Server Error", {"__type": "InternalFailure"})
            body = {"__type": error.kind, "message": error.message}
            return _json(respond, "400 Bad Request", body)
        if name == "CreateTrainingJob":
            self.requests.append(request)
            self.request_times.append(time.monotonic())
            if self.faults.answer_lost():
                return _json(respond, "500 Internal Server Error", {"__type": "InternalFailure"})
        now = format_datetime(datetime.now(UTC) + timedelta(seconds=self.faults.clock_skew), True)
        return _json(respond, "200 OK", answer, ("Date", now))

    def _log_events(self, environ: dict[str, Any], respond: StartResponse) -> Iterable[bytes]:
        """Empty pages with tokens of their own before every page, as CloudWatch may give them."""
        request = json.loads(_body(environ))
        real, _, number = request.pop("nextToken", "").partition("#")
        if int(number or 0) < self.faults.empty_pages:
            token = f"{real}#{int(number or 0) + 1}"
            page = {"events": [], "nextForwardToken": token, "nextBackwardToken": "b"}
            return _json(respond, "200 OK", page)
        more = {"nextToken": real} if real else {}
        page = self._own_client("logs").get_log_events(**request, **more)
        page.pop("ResponseMetadata")
        if page["nextForwardToken"] == real:  # the end, where the same token is given again
            page["nextForwardToken"] = f"{real}#{number}"
        return _json(respond, "200 OK", page)

    def _admin(self, environ: dict[str, Any], path: str, respond: StartResponse) -> Iterable[bytes]:
        """GET /_emulator; POST /_emulator/interrupt/JOB; POST /_emulator/faults {field: value}."""
        words = path.strip("/").split("/")
        if environ["REQUEST_METHOD"] == "POST" and words[1:2] == ["interrupt"]:
            self.jobs[words[2]].interrupt()
        elif environ["REQUEST_METHOD"] == "POST" and words[1:2] == ["faults"]:
            for key, value in json.loads(_body(environ)).items():
                setattr(self.faults, key, value)
        jobs = {name: f"{job.status}/{job.secondary}" for name, job in self.jobs.items()}
        state = {"calls": dict(self.calls), "faults": asdict(self.faults), "jobs": jobs}
        return _json(respond, "200 OK", state)


def _forget_earlier() -> None:
    """moto's state belongs to the process, so what an earlier emulator held is still there."""
    from moto.backends import get_backend

    for service in ("s3", "logs", "secretsmanager"):
        for account in get_backend(service).values():
            for backend in account.values():
                backend.reset()


_DENIED = (
    '<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code>'
    "<Message>Access Denied</Message></Error>"
)
_SLOW_DOWN = (
    '<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code>'
    "<Message>Please reduce your request rate.</Message></Error>"
)


def _operation(environ: dict[str, Any]) -> str:
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    if target:
        service, _, name = target.rpartition(".")
        return str(name) if service == "SageMaker" else f"{service.split('_')[0]}:{name}"
    scope = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].split("/")
    service = scope[3] if len(scope) > 3 else "s3"
    if service in ("iam", "sts"):
        body = _body(environ, keep=True).decode()
        return f"{service.upper()}:{parse_qs(body).get('Action', ['?'])[0]}"
    return _s3_operation(environ) if service == "s3" else service


def _s3_operation(environ: dict[str, Any]) -> str:
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"].strip("/")
    kind = "Object" if "/" in path else "Bucket"
    if method == "GET" and kind == "Bucket":
        return "S3:ListObjects" if path else "S3:ListBuckets"
    if method == "POST":
        return "S3:DeleteObjects" if "delete" in environ["QUERY_STRING"] else "S3:Multipart"
    return f"S3:{method.title()}{kind}"


def _body(environ: dict[str, Any], keep: bool = False) -> bytes:
    import io

    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    if keep:
        environ["wsgi.input"] = io.BytesIO(body)
    return body


def _json(
    respond: StartResponse, status: str, body: dict[str, Any], *more: tuple[str, str]
) -> Iterable[bytes]:
    data = json.dumps(body).encode()
    headers = [("Content-Type", "application/x-amz-json-1.1"), ("Content-Length", str(len(data)))]
    respond(status, [*headers, *more])
    return [data]


def _xml(respond: StartResponse, status: str, body: str) -> Iterable[bytes]:
    data = body.encode()
    respond(status, [("Content-Type", "text/xml"), ("Content-Length", str(len(data)))])
    return [data]


def _quiet(handler: type) -> type:
    return type("QuietHandler", (handler,), {"log": lambda *_: None})
