"""Checkpoints on disk: written aside, sealed with a digest of each file, renamed, and read only
where they are whole.

`checkpoints/checkpoint-20/` has what transformers saves, `state_RANK.pt` (`resumable.py`) and
`digests_RANK.json`, one for each machine that wrote a part.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr import ranks
from rlvr.result import write_atomic

if TYPE_CHECKING:
    import torch

ASIDE = ".writing"
KEPT = 2


def aside(folder: Path) -> Path:
    """An empty place to write a checkpoint in."""
    shutil.rmtree(folder / ASIDE, ignore_errors=True)
    (folder / ASIDE).mkdir(parents=True)
    return folder / ASIDE


def publish(written: Path, folder: Path) -> Path:
    """Seal the checkpoint `written` and give it its place; all but the newest KEPT are removed."""
    files = [path for path in written.rglob("*") if path.is_file()]
    digests = {path.relative_to(written).as_posix(): _digest(path) for path in files}
    write_atomic(written / f"digests_{ranks.rank()}.json", json.dumps(digests, indent=2))
    for path in (*files, *(path for path in written.rglob("*") if path.is_dir()), written):
        _flush(path)  # else the name may reach the disk before the content
    place = folder / written.name
    shutil.rmtree(place, ignore_errors=True)  # a torn one, or the same step's
    written.rename(place)
    _flush(folder)
    for old in [p for p in newest_first(folder) if p != place][KEPT - 1 :]:
        shutil.rmtree(old)
    return place


def newest_first(folder: Path) -> list[Path]:
    found = [path for path in folder.glob("checkpoint-*") if path.name.split("-")[1].isdigit()]
    return sorted(found, key=step, reverse=True)


def step(checkpoint: Path) -> int:
    return int(checkpoint.name.split("-")[1])


def damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint, or None."""
    seals = sorted(checkpoint.glob("digests_*.json"))
    if not seals:
        return "it was not finished"
    for seal in seals:
        try:
            digests = json.loads(seal.read_text(encoding="utf-8"))
            wrong = [n for n, d in digests.items() if _digest(checkpoint / n) != d]
        except (OSError, ValueError, AttributeError) as error:
            return f"{seal.name}: {error}"
        if wrong:
            return f"{wrong[0]} is not what was written"
    return None


def load(file: Path, device: "torch.device") -> Any:
    """What `torch.save` has written of a process, back where it was."""
    import torch

    # A rank's own "cpu:0" is a place that torch cannot restore to.
    where = "cpu" if device.type == "cpu" else device
    return torch.load(file, map_location=where, weights_only=False)


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
