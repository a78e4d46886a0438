"""The record of one sweep, `sweep.json`: all that resume, compare and `rlvr jobs` need."""

import fcntl
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig

from rlvr.errors import UserError
from rlvr.paths import output_dir
from rlvr.processes import is_alive
from rlvr.result import write_atomic
from rlvr.states import State

log = logging.getLogger(__name__)

FILE = "sweep.json"
VERSION = 1
NOT_SAVED = ("config", "directory")
NOT_COMPOSED = DictConfig({}, flags={"readonly": True})  # one for all: it is slow to make


@dataclass
class Job:
    """One job of a sweep, from its overrides to its result.

    `dir` is relative to the sweep's; `pid_started` tells a reused pid from the job's own. `remote`
    finds it on a cluster or in a cloud, `attempts` are what that was before. `config` is as
    composed, with Hydra's node: empty where this process has not composed it. Neither it nor
    `directory` is in the file.
    """

    index: int
    name: str
    hash: str
    overrides: list[str]
    dir: str
    state: State = State.pending
    run_id: str | None = None
    pid: int | None = None
    pid_started: int | None = None
    remote: dict[str, Any] | None = None
    started: str | None = None
    ended: str | None = None
    value: float | None = None
    error: str | None = None
    spent: float = 0.0  # US dollars, for `attempts`
    attempts: list[dict[str, Any]] = field(default_factory=list)
    config: DictConfig = field(default_factory=lambda: NOT_COMPOSED, repr=False, compare=False)
    directory: Path = field(default=Path(), repr=False, compare=False)

    @property
    def label(self) -> str:
        return f"#{self.index} {self.name}"

    def is_remote(self) -> bool:
        """Was it handed to a cluster or a cloud, which has not been seen to end it?"""
        return self.remote is not None and not self.state.ended

    def retire(self, **why: Any) -> None:
        """What it was elsewhere has ended and another attempt may follow: that one is kept."""
        if self.remote is not None:
            self.attempts.append({**self.remote, **why})
            self.spent += self.remote.get("cost") or 0.0
        self.state, self.remote, self.started = State.pending, None, None

    def true_state(self) -> State:
        """`lost` where the record says running and this machine's process is gone."""
        if self.state is not State.running or self.remote is not None:
            return self.state
        return State.running if is_alive(self.pid, self.pid_started) else State.lost


@dataclass
class Tracking:
    uri: str | None = None
    experiment_id: str | None = None
    parent_run_id: str | None = None


@dataclass
class Manifest:
    """`command` is what started the sweep and `cwd` where, which its relative paths refer to.

    `cloud` says where its copy is: the region, and the URI of a folder.
    """

    sweep_id: str
    name: str
    created: str
    launcher: str
    command: list[str]
    metric: str
    cwd: str | None = None
    cloud: dict[str, str] | None = None
    version: int = VERSION
    tracking: Tracking = field(default_factory=Tracking)
    jobs: list[Job] = field(default_factory=list)

    def save(self, directory: Path) -> None:
        jobs = [{k: v for k, v in vars(j).items() if k not in NOT_SAVED} for j in self.jobs]
        record = {**vars(self), "tracking": vars(self.tracking), "jobs": jobs}
        write_atomic(directory / FILE, json.dumps(record, indent=2) + "\n")

    def run_name(self, job: Job) -> str:
        """In trackers: the job's name, with its number where another job has the same."""
        alike = sum(other.name == job.name for other in self.jobs) > 1
        return f"{job.name} #{job.index}" if alike else job.name

    def next_index(self) -> int:
        return max((job.index for job in self.jobs), default=-1) + 1


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def load(directory: Path) -> Manifest:
    """Raises UserError when there is no manifest, or not one of this version."""
    path = directory / FILE
    if not path.is_file():
        raise UserError(f"{directory} is no sweep (no {FILE}): give a sweep's directory, or `last`")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}): start a new sweep") from error
    version = data.get("version") if isinstance(data, dict) else None
    if version != VERSION:
        raise UserError(f"{path}: version {version!r}, but this rlvr reads version {VERSION}")
    try:
        if not isinstance(data["created"], str):
            raise ValueError(f"created is {data['created']!r}")
        jobs = [_read(Job, {**job, "state": State(job["state"])}) for job in data["jobs"]]
        for job in jobs:
            job.directory = directory / job.dir
        tracking = _read(Tracking, data["tracking"])
        return _read(Manifest, {**data, "jobs": jobs, "tracking": tracking})
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path} is not a sweep manifest: {error}") from error


T = TypeVar("T", Job, Tracking, Manifest)


def _read(kind: type[T], data: dict[str, Any]) -> T:
    known = {f.name: f for f in fields(kind) if f.name not in NOT_SAVED}
    required = {n for n, f in known.items() if f.default is f.default_factory is MISSING}
    if wrong := sorted((required - set(data)) | (set(data) - set(known))):
        raise ValueError(f"{kind.__name__.lower()} with missing or unknown {', '.join(wrong)}")
    return kind(**data)


def find(spec: str | Path, root: Path | None = None) -> Path:
    """The directory of a sweep: `spec` itself or in `root`, or the newest in `root` for `last`.

    `last` passes over what this version cannot read, and says so; by its name it is a UserError.
    """
    root = root or output_dir() / "sweeps"
    if str(spec) != "last":
        given = Path(spec).expanduser()
        directory = root / given if not given.is_dir() and (root / given).is_dir() else given
        load(directory)
        return directory
    found = readable(root)
    if not found:
        raise UserError(f"no sweep in {root}: start one with `python train.py shots=0,4 -m`")
    return max((record.created, directory) for directory, record in found.items())[1]


def readable(root: Path) -> dict[Path, Manifest]:
    """The sweeps in `root`; one line for each that another version or another program has left."""
    found = {}
    for path in sorted(root.glob(f"*/{FILE}")):
        try:
            found[path.parent] = load(path.parent)
        except UserError as error:
            log.warning("skipped: %s", error)
    return found


def locate(target: str, sweeps: Path) -> Path:
    """The directory of a sweep or a run: itself, by its name in `sweeps`, or the newest sweep."""
    if target == "last":
        return find("last", root=sweeps)
    for directory in (Path(target).expanduser(), sweeps / target):
        if directory.is_dir():
            return directory
    raise UserError(
        f"there is no directory {target}, nor a sweep of that name in {sweeps}. Give the directory "
        "of a sweep or of runs, or `last`."
    )


@contextmanager
def claim(directory: Path) -> Iterator[None]:
    """Hold a sweep or run for this process. Raises UserError when another process holds it."""
    with (directory / ".lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise UserError(
                f"{directory} is being run by process {holder}: wait for it, or stop it with "
                f"`kill {holder}`, then resume"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def holder(directory: Path) -> str | None:
    """The process that works on a sweep or run, if any does."""
    if not (directory / ".lock").is_file():
        return None
    with (directory / ".lock").open(encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return file.read().strip() or "unknown"
    return None
