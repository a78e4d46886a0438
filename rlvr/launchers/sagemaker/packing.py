"""The code of a sweep as one archive, and what pip is to install for it.

The same files give the same bytes, and no secret gets in.
"""

import fnmatch
import gzip
import hashlib
import importlib.metadata
import io
import re
import tarfile
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rlvr import secret_patterns
from rlvr.errors import UserError
from rlvr.launchers.sagemaker.settings import Settings
from rlvr.paths import PROJECT

# As in .gitignore: a pattern with a leading slash holds at the root alone, others at every level.
DENIED = (
    *(".git .hg .svn .venv venv env node_modules __pycache__ *.pyc".split()),
    *(".mypy_cache .ruff_cache .pytest_cache .hypothesis .cache .ipynb_checkpoints".split()),
    *(".tox .nox .idea .vscode .DS_Store *.egg-info /build /dist .ci .github *.swp".split()),
    *("outputs multirun mlruns mlartifacts wandb mlflow.db *.db *.sqlite /conf/local".split()),
    *("/tests /docs /benchmarks /data /shared".split()),
    *secret_patterns.FILES,
)
# torch belongs to the image; the others are for the launching side.
NOT_IN_JOBS = {"torch", "sagemaker", "hydra-submitit-launcher", "matplotlib"}
TRACKING = {"mlflow", "sagemaker-mlflow"}
SCANNED = 1_000_000  # bytes; larger files are weights or data, not source


@dataclass(frozen=True)
class Archive:
    """`data` is a tar.gz; `digest` depends on names, modes and contents of the files alone."""

    data: bytes
    digest: str
    files: int
    largest: tuple[tuple[str, int], ...]

    def describe(self) -> str:
        return (
            f"code: {self.files} files, {len(self.data) / 1e6:.2f} MB packed ({self.digest[:12]})"
        )


def pack(
    root: Path,
    *,
    exclude: Iterable[str] = (),
    extra: dict[str, str] | None = None,
    max_mb: int = 50,
) -> Archive:
    """Pack the tree below `root`, plus the texts in `extra` by name.

    Raises UserError for a file that holds a secret, and for a tree larger than `max_mb` (MB,
    unpacked): the largest files are named.
    """
    files = dict(sorted(_files(root, (*DENIED, *exclude))))
    sizes = {name: path.stat().st_size for name, path in files.items()}
    largest = tuple(sorted(sizes.items(), key=lambda item: -item[1])[:5])
    if sum(sizes.values()) > max_mb * 1_000_000:
        raise UserError(_too_large(root, sum(sizes.values()), largest, max_mb))
    contents = {name: path.read_bytes() for name, path in files.items()}
    if leaks := list(_leaks(contents)):
        raise UserError(
            "these files of the code look as if they held secrets; remove them, or exclude the "
            "files with launcher.exclude=[PATTERN]:\n  " + "\n  ".join(leaks)
        )
    contents |= {name: text.encode() for name, text in (extra or {}).items()}
    data = _tar_gz(contents)
    return Archive(data, hashlib.sha256(data).hexdigest(), len(contents), largest)


def _files(root: Path, denied: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    resolved = root.resolve()

    def walk(folder: Path) -> Iterator[tuple[str, Path]]:
        for path in folder.iterdir():
            name = path.relative_to(root).as_posix()
            if any(_matches(name, pattern) for pattern in denied):
                continue
            # a link may lead out of the tree, or into a denied part of it
            if path.is_symlink() and not path.resolve().is_relative_to(resolved):
                continue
            if path.is_dir() and not path.is_symlink():
                yield from walk(path)
            elif path.is_file():
                yield name, path

    yield from walk(root)


def _matches(name: str, pattern: str) -> bool:
    if pattern.startswith("/"):
        return fnmatch.fnmatch(name, pattern[1:])
    return fnmatch.fnmatch(name.rpartition("/")[2], pattern)


def _too_large(root: Path, total: int, largest: tuple[tuple[str, int], ...], max_mb: int) -> str:
    biggest = "\n  ".join(f"{size / 1e6:9.1f} MB  {name}" for name, size in largest)
    return (
        f"the code in {root} is {total / 1e6:.0f} MB, more than launcher.max_code_mb={max_mb}; "
        f"leave out what jobs do not need by launcher.exclude=[PATTERN]. The largest:\n  {biggest}"
    )


def _leaks(contents: dict[str, bytes]) -> Iterator[str]:
    for name, body in contents.items():
        if len(body) <= SCANNED:
            for line, start in secret_patterns.secrets_in(body.decode(errors="replace")):
                yield f"{name}:{line}: {start}..."


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


def requirements(settings: Settings, *, tracked: bool, deepspeed: bool) -> str | None:
    """The text of the job's requirements.txt, None where its image has everything.

    `auto` pins the versions installed here, one `name==version` a line: MLflow only for jobs that
    write to it (`tracked`), DeepSpeed only for ZeRO.
    """
    if not settings.requirements:
        return None
    if settings.requirements != "auto":
        return Path(settings.requirements).expanduser().read_text(encoding="utf-8")
    left_out = (
        NOT_IN_JOBS | (set() if tracked else TRACKING) | (set() if deepspeed else {"deepspeed"})
    )
    names = sorted(set(_dependencies(PROJECT)) - left_out)
    lines = [f"{name}=={importlib.metadata.version(name)}" for name in names]
    return "\n".join([*lines, *settings.extra_requirements]) + "\n"


def _dependencies(root: Path) -> Iterator[str]:
    project = root / "pyproject.toml"
    if project.is_file():
        listed = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"]
    else:
        listed = importlib.metadata.requires("rlvr") or []
    for requirement in listed:
        if "extra ==" not in requirement:
            yield re.split(r"[^A-Za-z0-9_.-]", requirement, maxsplit=1)[0].lower()
