"""What a run leaves behind: `result.json`, from its first second on, truthful whatever happens.

A run that was killed cannot change its `running`: it is over where no process works on it.
"""

import hashlib
import importlib.metadata
import json
import os
import signal
import subprocess
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rlvr.errors import UserError
from rlvr.processes import describe_exit
from rlvr.states import State

FILE = "result.json"
ENDED_FROM_OUTSIDE = (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT)
PACKAGES = (
    "rlvr",
    "torch",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "datasets",
    "mlflow",
    "vllm",
)


@dataclass
class Result:
    """One run. Scores are `rlvr.evaluation.score.Score` as mappings; `seconds` is wall time,
    of all attempts."""

    status: State = State.failed
    metric: float | None = None
    base: dict[str, Any] | None = None
    trained: dict[str, Any] | None = None
    paired: dict[str, Any] | None = None
    benchmarks: dict[str, dict[str, Any]] = field(default_factory=dict)  # base, trained, paired
    protocols: dict[str, dict[str, Any]] = field(default_factory=dict)  # and gap, warning
    seconds: float | None = None
    cost: float | None = None
    shots: int | None = None  # asked with; where they move those of the end
    schedule: str | None = None  # of the shots in training, where they move
    seed: int | None = None
    overrides: list[str] = field(default_factory=list)
    datasets: dict[str, dict[str, Any]] = field(default_factory=dict)
    sandbox: str | None = None  # where a model's code was executed: docs/code.md
    engine: str | None = None  # what sampled: docs/vllm.md
    attention: dict[str, Any] | None = None  # of the update on a GPU: docs/shared_prefix.md
    run_id: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    git: dict[str, Any] | None = None
    paths: dict[str, str] = field(default_factory=dict)
    pruned: dict[str, Any] | None = None  # why it was ended early: rlvr.pruning.Pruned
    error: str | None = None
    traceback: str | None = None

    def fail(self, error: BaseException) -> None:
        """Record why the run ended; SIGTERM and Ctrl-C are `killed`, all else is `failed`."""
        killed = isinstance(error, KeyboardInterrupt)  # the worker's SIGTERM is one too
        self.status = State.killed if killed else State.failed
        text = str(error).strip() or ("interrupted" if killed else "no message")
        self.error = text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"
        self.traceback = "".join(traceback.format_exception(error))

    def write(self, run_dir: Path) -> None:
        write_atomic(run_dir / FILE, json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n")


def of_exit(index: int, code: int) -> Result:
    """Of job `index`, whose process is gone and left no result; `code` as subprocess gives it."""
    status = State.killed if code in ENDED_FROM_OUTSIDE else State.failed
    return Result(status, error=f"job #{index} {describe_exit(code)}")


def read(run_dir: Path) -> Result | None:
    """A run's result, or None where there is none yet."""
    path = run_dir / FILE
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return Result(**{**record, "status": State(record["status"])})
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path} is not a result of rlvr: {error}") from error


def ended(run_dir: Path) -> Result | None:
    """A run's result once it has one; None while its last word is that it runs."""
    found = read(run_dir)
    return found if found is not None and found.status.ended else None


def write_atomic(path: Path, text: str) -> None:
    """Readers see the old file or the new one, also after a crash or on a full disk."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(path)


def versions() -> dict[str, str]:
    """Versions of the packages that decide a run's outcome, as far as they are installed."""
    installed = {d.name.lower(): d.version for d in importlib.metadata.distributions()}
    return {name: installed[name] for name in PACKAGES if name in installed}


def code_state(root: Path) -> tuple[dict[str, Any] | None, str]:
    """Commit and digest of the uncommitted changes, and the diff itself; (None, "") outside git."""
    try:
        commit = _git(root, "rev-parse", "HEAD").strip()
        diff = _git(root, "diff", "HEAD")
    except (OSError, subprocess.CalledProcessError):
        return None, ""
    digest = hashlib.sha256(diff.encode()).hexdigest()[:16] if diff else None
    return {"commit": commit, "dirty": bool(diff), "diff_sha256": digest}, diff


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=True
    ).stdout
