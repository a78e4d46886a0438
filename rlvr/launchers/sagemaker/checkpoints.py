"""Checkpoints that survive a spot interruption. Standard library only: runs before pip has.

SageMaker copies /opt/ml/checkpoints to S3 file by file while the trainer writes, so what comes back
after an interruption may be half a checkpoint. A list of sizes, written once a checkpoint is
finished, tells whole ones from torn ones.
"""

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

COMPLETE = "complete.json"
LAST_FILE = "trainer_state.json"  # what transformers writes last


class Sealer:
    """Call `seal` every second or so: a checkpoint that has stopped changing gets its list."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seen: dict[Path, dict[str, int]] = {}

    def seal(self) -> None:
        for checkpoint in _checkpoints(self.folder):
            with suppress(FileNotFoundError):  # the trainer removes old ones meanwhile
                self._look_at(checkpoint)

    def _look_at(self, checkpoint: Path) -> None:
        if (checkpoint / COMPLETE).exists() or not (checkpoint / LAST_FILE).exists():
            return
        sizes = _sizes(checkpoint)
        if self._seen.get(checkpoint) == sizes:
            write_json(checkpoint / COMPLETE, sizes)
        self._seen[checkpoint] = sizes


def discard_torn(folder: Path) -> list[str]:
    """Remove every checkpoint that is not whole; returns their names."""
    torn = [checkpoint for checkpoint in _checkpoints(folder) if not _whole(checkpoint)]
    for checkpoint in torn:
        shutil.rmtree(checkpoint)
    return [checkpoint.name for checkpoint in torn]


def last_step(folder: Path) -> int:
    """The step of the newest checkpoint, 0 where there is none."""
    return max((_step(checkpoint) for checkpoint in _checkpoints(folder)), default=0)


def forget_after(metrics: Path, step: int) -> int:
    """Cut the record of steps that will be trained again; returns how many lines went."""
    if not metrics.is_file():
        return 0
    lines = metrics.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if _step_of(line) <= step]
    if len(kept) < len(lines):
        temporary = metrics.with_suffix(".part")
        temporary.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        temporary.replace(metrics)
    return len(lines) - len(kept)


def write_json(path: Path, value: object) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value), encoding="utf-8")
    temporary.replace(path)


def _checkpoints(folder: Path) -> list[Path]:
    return [path for path in folder.glob("checkpoint-*") if _step(path) and path.is_dir()]


def _step(path: Path) -> int:
    number = path.name.rpartition("-")[2]
    return int(number) if number.isdigit() else 0


def _sizes(checkpoint: Path) -> dict[str, int]:
    files = (p for p in checkpoint.rglob("*") if p.is_file() and p.name != COMPLETE)
    return {p.relative_to(checkpoint).as_posix(): p.stat().st_size for p in files}


def _whole(checkpoint: Path) -> bool:
    try:
        expected = json.loads((checkpoint / COMPLETE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(_sizes(checkpoint) == expected)


def _step_of(line: str) -> float:
    """A line cut off in the middle belongs to no step that counts."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
