"""How long a run has been worked on: every attempt, also those that were killed."""

import contextlib
import json
import threading
import time
from pathlib import Path
from typing import Any

from rlvr import ranks
from rlvr.result import write_atomic

FILE = "attempts.json"
BEAT_SECONDS = 5.0  # a killed attempt may have gone on for so much longer than it has said


def read(run_dir: Path) -> list[dict[str, Any]]:
    """The attempts at a run so far, each with `started` (Unix time) and `seconds`."""
    file = run_dir / FILE
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []


def seconds(run_dir: Path) -> float:
    return float(sum(attempt["seconds"] for attempt in read(run_dir)))


class Attempt:
    """This process's attempt at the run of a directory, while the context lasts."""

    def __init__(self, run_dir: Path) -> None:
        self._file = run_dir / FILE
        self._began = time.monotonic()
        self._over = threading.Event()
        self.earlier = read(run_dir)
        self._started = round(time.time(), 3)

    def __enter__(self) -> "Attempt":
        if ranks.is_main():
            self._write()
            threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        if ranks.is_main():
            with contextlib.suppress(OSError):
                self._write()

    @property
    def seconds(self) -> float:
        """Of all attempts together."""
        own = time.monotonic() - self._began
        return round(own + sum(attempt["seconds"] for attempt in self.earlier), 3)

    def _beat(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):  # a full disk is the run's affair, not the clock's
                self._write()

    def _write(self) -> None:
        own = {"started": self._started, "seconds": round(time.monotonic() - self._began, 3)}
        write_atomic(self._file, json.dumps([*self.earlier, own]) + "\n")
