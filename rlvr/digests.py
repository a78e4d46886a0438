"""Short names for contents."""

import hashlib
import json
from pathlib import Path
from typing import Any


def digest(content: Any) -> str:
    """16 hex digits over `content` as canonical JSON."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def digest_files(folder: Path, patterns: tuple[str, ...]) -> str:
    """16 hex digits over names and contents of the files that match."""
    sha = hashlib.blake2b(digest_size=8)
    for file in sorted({found for pattern in patterns for found in folder.glob(pattern)}):
        with file.open("rb") as stream:
            content = hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16))
        sha.update(f"{file.name} {content.hexdigest()}\n".encode())
    return sha.hexdigest()
