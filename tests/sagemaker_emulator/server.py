"""The HTTP server: our answers for training jobs, moto's for S3, logs and smaller services."""

import atexit
import json
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from email.utils import formatdate
from pathlib import Path
from typing import Any

from . import wire
from .bucket_door import BucketDoor
from .clock import Clock
from .container_job import ContainerJob
from .faults import Faults
from .job import Job, Machine
from .ledger import Ledger
from .logs import LogShipper
from .other_services import allow_all, price_page, published
from .pretend import Pretend
from .pretended_job import PretendedJob
from .regions import Region, log_backend
from .sandbox import WHY_NOT, available_mode
from .scheduler import Scheduler
from .store import ACCOUNT

REGION = "us-east-1"  # of clients that name none
BUCKET = "rlvr-emulated"  # the bucket the tests use
ROLE = f"arn:aws:iam::{ACCOUNT}:role/emulated-sagemaker-role"


class Emulator:
    """`with Emulator() as emulator:` serves on 127.0.0.1 until the block ends.

    With `pretend` no job runs anything: see `pretend.Pretend`. `env()` is what a client process
    needs. `faults` may be changed at any time. `calls` counts API calls by operation
    ("S3:PutObject", "CreateTrainingJob", ...), the emulator's own left out; `requests` are those
    that made a job. `published` are SNS messages; `products` is what the price list says.
    RuntimeError if no isolation mode works here and jobs are to run.
    """

    def __init__(
        self,
        port: int = 0,
        folder: Path | None = None,
        pretend: Pretend | None = None,
        **machine: Any,
    ) -> None:
        self.mode = machine.pop("mode", None) or (None if pretend else available_mode())
        if self.mode is None and pretend is None:
            raise RuntimeError(WHY_NOT)
        self.pretend, self.clock = pretend, Clock(pretend.speed if pretend else 1.0)
        self.faults, self.calls = Faults(), Counter[str]()
        self.requests: list[dict[str, Any]] = []
        self.request_times: list[float] = []
        self.published: list[dict[str, str]] = []
        self.products: list[dict[str, Any]] = []
        self._port, self._options = port, machine
        self._clients: dict[str, Any] = {}
        self._regions: dict[str, Region] = {}
        self._attempts = Counter[str]()
        self._lock = threading.RLock()
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
        self._door = BucketDoor(self.faults, self._moto)
        handler = _handler(MotoRequestHandler, lambda: self.clock.now() + self.faults.clock_skew)
        self._server = make_server(
            "127.0.0.1", self._port, self._wsgi, threaded=True, request_handler=handler
        )
        self._server.daemon_threads = True  # type: ignore[attr-defined]
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        _forget_earlier()
        self._scheduler = Scheduler(self.clock)
        self.region(REGION)
        atexit.register(self.close)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def region(self, name: str = REGION) -> Region:
        """Of the account; each is there as soon as somebody asks for it."""
        with self._lock:
            if name not in self._regions:
                self._regions[name] = Region.of(
                    self._machine(name), self._own_client("logs", name), self._make_job
                )
            return self._regions[name]

    @property
    def machine(self) -> Machine:
        return self.region().api.machine

    @property
    def api(self) -> Any:
        return self.region().api

    @property
    def jobs(self) -> dict[str, Job]:
        """Of all regions, by name."""
        with self._lock:
            regions = list(self._regions.values())
        return {name: job for region in regions for name, job in region.jobs.items()}

    @property
    def created(self) -> list[str]:
        """Names of the jobs that were asked for, in order."""
        return [request["TrainingJobName"] for request in self.requests]

    @property
    def uploads(self) -> list[str]:
        """Paths of the objects that were put, in order."""
        return self._door.uploads

    def ledger(self) -> Ledger:
        """Every job there has been since the last reset, and its true bill so far."""
        with self._lock:
            return Ledger.of(job for r in self._regions.values() for job in list(r.api.created))

    def close(self) -> None:
        """Kill every job, stop serving, remove what was written."""
        atexit.unregister(self.close)
        self._kill_jobs()
        self._scheduler.close()
        for region in self._regions.values():
            region.logs.close()
        self._server.shutdown()
        self._server.server_close()
        if self._own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def reset(self) -> None:
        """Forget jobs, faults and counters; kill what still runs. Buckets and logs are kept."""
        self._kill_jobs()
        self.faults.clear()
        for region in self._regions.values():
            region.api.forget()
        kept: tuple[Any, ...] = (self.calls, self.requests, self.request_times, self.uploads)
        for records in (*kept, self.published, self.products, self._attempts):
            records.clear()

    def logged(self, job: str) -> list[list[str]]:
        """Lines of each of the job's CloudWatch streams, oldest stream first."""
        regions = [region for region in self._regions.values() if job in region.jobs]
        return (regions or [self.region()])[0].logged(job)

    def env(self, region: str = REGION) -> dict[str, str]:
        """Environment variables that point any AWS client at the emulator."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "AWS_ACCESS_KEY_ID": "emulated",
            "AWS_SECRET_ACCESS_KEY": "emulated",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self, service: str, region: str = REGION) -> Any:
        """A boto3 client whose calls are counted and may fail, like anybody's."""
        key = f"{service} {region}"
        if key not in self._clients:
            self._clients[key] = self._client(service, region=region)
        return self._clients[key]

    def _own_client(self, service: str, region: str) -> Any:
        from botocore.config import Config

        config = Config(user_agent_extra=wire.OWN, max_pool_connections=32)
        return self._client(service, config, region)

    def _client(self, service: str, config: Any = None, region: str = REGION) -> Any:
        import boto3

        env = self.env()
        session = boto3.Session(env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"])
        return session.client(
            service, region_name=region, endpoint_url=self.endpoint, config=config
        )

    def _machine(self, region: str) -> Machine:
        return Machine(
            folder=self.folder,
            region=region,
            endpoint=self.endpoint,
            mode=str(self.mode),
            s3=self._own_client("s3", region),
            logs=LogShipper(log_backend(region), lambda: self.faults.log_delay),
            faults=self.faults,
            clock=self.clock,
            **self._options,
        )

    def _make_job(self, request: dict[str, Any], machine: Machine) -> Job:
        with self._lock:
            self.requests.append(request)
            self.request_times.append(time.monotonic())
            if self.pretend is None:
                return ContainerJob(request, machine)
            identity = self.pretend.identity(request)
            course = self.pretend.course(request, self._attempts[identity])
            self._attempts[identity] += 1
            return PretendedJob(request, machine, course, self._scheduler)

    def _kill_jobs(self) -> None:
        with self._lock:
            jobs = [job for region in self._regions.values() for job in region.api.created]
        for job in jobs:
            job.kill()
        for job in jobs:
            job.join(timeout=10)

    def _wsgi(self, environ: wire.Environ, respond: wire.StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith("/_emulator"):
            return self._admin(environ, respond)
        if wire.OWN in environ.get("HTTP_USER_AGENT", ""):
            return self._moto(environ, respond)  # type: ignore[no-any-return]
        operation = wire.operation(environ)
        self.calls[operation] += 1
        signed = wire.scope(environ)
        region = self.region(signed[2] if signed else REGION)
        if operation in region.api.operations:
            return region.answer(operation, wire.json_body(environ), respond)
        if operation.startswith("S3:"):
            return self._door.answer(operation, environ, respond)
        if operation == "IAM:SimulatePrincipalPolicy":
            return wire.answer_xml(respond, "200 OK", allow_all(["s3:PutObject"]))
        if operation == "AWSPriceListService:GetProducts":
            page = price_page(self.products, wire.json_body(environ))
            return wire.answer_json(respond, "200 OK", page)
        return self._from_moto(operation, region, environ, respond)

    def _from_moto(
        self, operation: str, region: Region, environ: wire.Environ, respond: wire.StartResponse
    ) -> Iterable[bytes]:
        if operation == "Logs:GetLogEvents":
            trouble = region.log_events(environ, respond)
            if trouble is not None:
                return trouble
        if operation == "SNS:Publish":
            return self._publish(region.name, environ, respond)
        answer: Iterable[bytes] = self._moto(environ, respond)
        return answer

    def _publish(
        self, region: str, environ: wire.Environ, respond: wire.StartResponse
    ) -> Iterable[bytes]:
        """To a topic that there is; moto keeps no message that nobody has subscribed to."""
        message = published(environ) | {"Region": region}

        def noted(status: str, *rest: Any) -> Any:
            if status.startswith("200"):
                self.published.append(message)
            return respond(status, *rest)

        answer: Iterable[bytes] = self._moto(environ, noted)
        return answer

    def _admin(self, environ: wire.Environ, respond: wire.StartResponse) -> Iterable[bytes]:
        """GET /_emulator; POST /_emulator/interrupt/JOB; POST /_emulator/faults {field: value}."""
        words = environ["PATH_INFO"].strip("/").split("/")
        if environ["REQUEST_METHOD"] == "POST" and words[1:2] == ["interrupt"]:
            self.jobs[words[2]].interrupt()
        elif environ["REQUEST_METHOD"] == "POST" and words[1:2] == ["faults"]:
            for key, value in json.loads(wire.body(environ)).items():
                setattr(self.faults, key, value)
        jobs = {name: f"{job.status}/{job.secondary}" for name, job in self.jobs.items()}
        state = {"calls": dict(self.calls), "faults": self.faults.described(), "jobs": jobs}
        return wire.answer_json(respond, "200 OK", state)


def _forget_earlier() -> None:
    """moto's state belongs to the process, so what an earlier emulator held is still there."""
    from moto.backends import get_backend

    for service in ("s3", "logs", "secretsmanager", "sns"):
        for account in get_backend(service).values():
            for backend in account.values():
                backend.reset()


def _handler(moto: type, now: Callable[[], float]) -> type:
    """Without a log, and every answer of every service tells the time by the emulated clock."""
    told = {"log": lambda *_: None, "date_time_string": lambda *_: formatdate(now(), usegmt=True)}
    return type("Handler", (moto,), told)
