"""Ships a container's output to CloudWatch Logs, as late as the faults say."""

import threading
import time
from collections.abc import Callable
from typing import IO, Any

GROUP = "/aws/sagemaker/TrainingJobs"


class LogShipper:
    """One thread for all streams: lines become visible `delay()` seconds after being written."""

    def __init__(self, client: Any, delay: Callable[[], float]) -> None:
        self._client, self._delay = client, delay
        self._lock = threading.Lock()
        self._waiting: list[tuple[float, str, str]] = []
        self._streams: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-shipper", daemon=True)
        self._thread.start()

    def follow(self, pipe: IO[bytes], stream: str) -> None:
        """Read `pipe` to its end into `stream`. Blocks: run it in the job's reader thread."""
        for raw in pipe:
            line = raw.decode(errors="replace").rstrip("\n")
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
        for stream in dict.fromkeys(entry[1] for entry in due):
            self._create(stream)
            events = [
                {"timestamp": int(when * 1000), "message": line}
                for when, name, line in due
                if name == stream
            ]
            self._client.put_log_events(logGroupName=GROUP, logStreamName=stream, logEvents=events)

    def _create(self, stream: str) -> None:
        if not self._streams:
            groups = self._client.describe_log_groups(logGroupNamePrefix=GROUP)["logGroups"]
            if not groups:
                self._client.create_log_group(logGroupName=GROUP)
        if stream not in self._streams:
            self._client.create_log_stream(logGroupName=GROUP, logStreamName=stream)
            self._streams.add(stream)
