"""The code of a sweep as one archive: what git tracks or would track, without what no job needs.

The same files give the same bytes, and a file that looks like a secret is refused by name.
"""

import fnmatch
import gzip
import hashlib
import io
import os
import subprocess
import tarfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from rlvr.errors import UserError
from rlvr.paths import output_dir
from rlvr.secret_patterns import file_problem

# As in .gitignore: a pattern with a leading slash holds at the root alone, others at every level.
NOT_FOR_JOBS = (
    *("/tests /docs /benchmarks /data /shared /.ci /.github /conf/local .gitignore".split()),
    *("__pycache__ *.pyc outputs multirun mlruns mlartifacts wandb *.egg-info .DS_Store".split()),
)
# Outside git nothing says what belongs to the code.
PARTS_OF_A_COPY = ("rlvr", "conf", "launchers", "examples", "train.py", "pyproject.toml")
PARTS_OF_AN_INSTALLATION = ("rlvr", "hydra_plugins/rlvr_launchers")
SHOWN = 12  # names that a line gives
_problem = lru_cache(maxsize=None)(file_problem)  # the codes of a sweep differ in few files


@dataclass(frozen=True)
class Archive:
    """`data` is a tar.gz; `digest` depends on names and contents of the files alone.

    `untracked` are those of `files` that git does not track yet.
    """

    data: bytes
    digest: str
    files: tuple[str, ...]
    untracked: tuple[str, ...]

    def describe(self) -> str:
        """What goes up: files by folder, and by name those that git does not know yet."""
        folders = Counter(
            name.partition("/")[0] + "/" * ("/" in name) for name in self.files
        ).items()
        listed = ", ".join(f"{top} {count}" if top[-1] == "/" else top for top, count in folders)
        size = f"{len(self.data) / 1e6:.2f} MB packed ({self.digest[:12]})"
        text = f"code: {len(self.files)} files, {size}: {listed}"
        if self.untracked:
            names = ", ".join(self.untracked[:SHOWN])
            more = f" and {len(self.untracked) - SHOWN} more" if len(self.untracked) > SHOWN else ""
            text += f"\n  not yet in git, but not ignored: {names}{more}"
        return text


def pack(
    root: Path,
    *,
    exclude: Iterable[str] = (),
    extra: dict[str, str] | None = None,
    max_mb: int = 50,
) -> Archive:
    """Pack the code below `root`, plus the texts in `extra` by name.

    Raises UserError for files that look like secrets, and for more than `max_mb` (MB, unpacked):
    the largest files are named.
    """
    left_out = [*NOT_FOR_JOBS, *exclude]
    if output_dir().is_relative_to(root):
        left_out.append(f"/{output_dir().relative_to(root).as_posix()}")
    tracked, untracked = _in_git(root) or (_copied(root), [])
    names = sorted(
        name for name in _whole([*tracked, *untracked], root) if not _matches(name, left_out)
    )
    sizes = {name: (root / name).stat().st_size for name in names}
    if sum(sizes.values()) > max_mb * 1_000_000:
        raise UserError(_too_large(root, sizes, max_mb))
    contents = {name: (root / name).read_bytes() for name in names}
    contents |= {name: text.encode() for name, text in (extra or {}).items()}
    if problems := [p for name, body in contents.items() if (p := _problem(name, body))]:
        raise UserError(
            "nothing was uploaded, because files of the code look like secrets:\n  "
            + "\n  ".join(problems)
            + "\nName them in launcher.exclude=[PATTERN] (those that git does not track yet, in "
            ".gitignore), or move the value out of "
            "the code: into the environment, or AWS Secrets Manager (launcher.hf_token_secret)."
        )
    data = _tar_gz(contents)
    new = {*untracked} - {*tracked}
    return Archive(
        data,
        hashlib.sha256(data).hexdigest(),
        tuple(sorted(contents)),
        tuple(name for name in names if name in new),
    )


def _in_git(root: Path) -> tuple[list[str], list[str]] | None:
    """What git tracks below `root`, and what it would track; None where it knows neither."""
    tracked = _git_list(root, "--cached")
    untracked = _git_list(root, "--others", "--exclude-standard") if tracked is not None else None
    if tracked is None or untracked is None or not tracked + untracked:
        return None  # such as an environment inside a clone, which the clone ignores
    return tracked, untracked


def _git_list(root: Path, *which: str) -> list[str] | None:
    command = ["git", "-C", str(root), "ls-files", "-z", *which]
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        found = subprocess.run(command, capture_output=True, env=own | {"LC_ALL": "C"})
    except OSError as error:
        why = str(error)
    else:
        if found.returncode == 0:
            return [os.fsdecode(name) for name in found.stdout.split(b"\0") if name]
        why = found.stderr.decode(errors="replace").strip()
    if any((folder / ".git").exists() for folder in (root, *root.parents)):
        raise UserError(
            f"git cannot say which files of {root} are code and which are ignored, so nothing "
            f"is uploaded: {why}"
        )
    return None


def _copied(root: Path) -> list[str]:
    """The known parts of a tree without git, hidden files left out."""
    parts = PARTS_OF_A_COPY if (root / "train.py").is_file() else PARTS_OF_AN_INSTALLATION
    found = [
        path
        for part in parts
        for path in ([root / part] if (root / part).is_file() else (root / part).rglob("*"))
    ]
    names = [path.relative_to(root).as_posix() for path in found]
    return [name for name in names if not any(part[0] == "." for part in name.split("/"))]


def _whole(names: list[str], root: Path) -> set[str]:
    """The names of files there are; a link counts where it leads to another of them."""
    base = root.resolve()
    files = {name for name in names if (root / name).is_file()}
    real = {base / name for name in files if not (root / name).is_symlink()}
    return {name for name in files if (root / name).resolve() in real}


def _matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether the file or a folder it is in is named by a pattern."""
    parts = name.split("/")
    folders = ["/".join(parts[: i + 1]) for i in range(len(parts))]
    return any(
        fnmatch.fnmatch(folder, pattern.strip("/"))
        if pattern.startswith("/")
        else fnmatch.fnmatch(folder.rpartition("/")[2], pattern.rstrip("/"))
        for pattern in patterns
        for folder in folders
    )


def _too_large(root: Path, sizes: dict[str, int], max_mb: int) -> str:
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:5]
    biggest = "\n  ".join(f"{size / 1e6:9.1f} MB  {name}" for name, size in largest)
    total = sum(sizes.values()) / 1e6
    return (
        f"the code in {root} is {total:.0f} MB, more than launcher.max_code_mb={max_mb}; leave "
        f"out what jobs do not need by launcher.exclude=[PATTERN]. The largest:\n  {biggest}"
    )


def _tar_gz(contents: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, filename="") as zipped,
        tarfile.open(fileobj=zipped, mode="w") as tar,
    ):
        for name in sorted(contents):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(contents[name]), 0o644
            tar.addfile(member, io.BytesIO(contents[name]))
    return buffer.getvalue()
