"""Answers on disk, for every process and run that asks the same model the same way.

A store is one folder of small files, each written whole and never changed, so that readers need no
lock, a crash leaves nothing torn, and copies of a folder can be merged by file name. Processes
that evaluate at the same time share the work: a batch is answered by who has claimed it.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlvr.digests import digest
from rlvr.result import write_atomic

ASKED = "asked.json"  # what the folder's name is the digest of, for people
CLAIMS = ".claims"
# A root below which another process exchanges answers with other machines, and its mark in a folder
# that it has been through. (It imports nothing of this package's: PID 1 of a container.)
EXCHANGED_ROOT = "RLVR_EXCHANGED_ANSWERS"
EXCHANGED = ".exchanged"
EXCHANGE_SECONDS = 60.0


@dataclass(frozen=True)
class Samples:
    """What the model said to one prompt: `k` samples."""

    texts: list[str]
    tokens: list[int]
    ended: list[bool]


class Store:
    """The answers of one way of asking, below `root`, by the key of their prompt."""

    def __init__(self, root: Path, asked: Mapping[str, Any]) -> None:
        self.folder = root / digest(asked)
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / ASKED).exists():
            write_atomic(self.folder / ASKED, json.dumps(asked, indent=2, sort_keys=True) + "\n")
        if os.environ.get(EXCHANGED_ROOT) == str(root):
            self._await_exchange()
        self._read: set[str] = set()
        self.known: dict[str, Samples] = {}

    def _await_exchange(self) -> None:
        """What others have answered comes first; an exchange that does not come is not needed."""
        deadline = time.monotonic() + EXCHANGE_SECONDS
        while not (self.folder / EXCHANGED).exists() and time.monotonic() < deadline:
            time.sleep(0.1)

    def refresh(self) -> None:
        """Read what other processes have written since."""
        for file in sorted(self.folder.glob("*.jsonl")):
            if file.name not in self._read:
                self._read.add(file.name)
                for line in file.read_text(encoding="utf-8").splitlines():
                    row = json.loads(line)
                    self.known.setdefault(row.pop("key"), Samples(**row))

    def missing(self, keys: Sequence[str]) -> list[str]:
        return [key for key in keys if key not in self.known]

    def add(self, answers: Mapping[str, Samples]) -> None:
        lines = [
            json.dumps({"key": k, **asdict(a)}, ensure_ascii=False) for k, a in answers.items()
        ]
        write_atomic(self.folder / f"{digest(sorted(answers))}.jsonl", "\n".join(lines) + "\n")
        self.refresh()

    @contextmanager
    def claim(self, keys: Sequence[str], wait: bool) -> Iterator[bool]:
        """Whether this process may answer `keys`; one that dies gives its claim up.

        A byte of one file stands for a batch: the system frees its lock with the process, and
        network file systems know such locks.
        """
        byte = int(digest(list(keys))[:15], 16)
        descriptor = os.open(self.folder / CLAIMS, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            operation = fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB)
            fcntl.lockf(descriptor, operation, 1, byte)
        except BlockingIOError:
            os.close(descriptor)
            yield False
            return
        try:
            self.refresh()
            yield True
        finally:
            os.close(descriptor)
