"""Ships the output of jobs to CloudWatch Logs, as late as the faults say."""

import threading
import time
from collections.abc import Callable
from typing import IO, Any

GROUP = "/aws/sagemaker/TrainingJobs"


class LogShipper:
    """One thread for all streams of a region: lines are visible `delay()` seconds after they were
    written. `backend` is moto's of the region, called without HTTP."""

    def __init__(self, backend: Any, delay: Callable[[], float]) -> None:
        self._backend, self._delay = backend, delay
        self._lock = threading.Lock()
        self._waiting: list[tuple[float, str, str]] = []
        self._streams: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-shipper", daemon=True)
        self._thread.start()

    def follow(self, pipe: IO[bytes], stream: str) -> None:
        """Read `pipe` to its end into `stream`. Blocks: run it in the job's reader thread."""
        for raw in pipe:
            self.write(stream, raw.decode(errors="replace").rstrip("\n"))

    def write(self, stream: str, line: str) -> None:
        with self._lock:
            self._waiting.append((time.time(), stream, line or " "))

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            self._ship(time.time() - self._delay())

    def _ship(self, before: float) -> None:
        with self._lock:
            due = [entry for entry in self._waiting if entry[0] <= before]
            self._waiting = [entry for entry in self._waiting if entry[0] > before]
        events: dict[str, list[dict[str, Any]]] = {}
        for when, stream, line in due:
            events.setdefault(stream, []).append({"timestamp": int(when * 1000), "message": line})
        for stream, written in events.items():
            self._create(stream)
            self._backend.put_log_events(GROUP, stream, written)

    def _create(self, stream: str) -> None:
        if GROUP not in self._backend.groups:
            self._backend.create_log_group(log_group_name=GROUP, tags={})
        if stream not in self._streams:
            self._backend.create_log_stream(GROUP, stream)
            self._streams.add(stream)
