"""What is put around the zygote, and which of it this machine can do."""

import json
import logging
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from rlvr.errors import UserError
from rlvr.sandbox.restrict import landlock_abi, packages

log = logging.getLogger(__name__)

PROBE_SECONDS = 60.0
NAMESPACES = ("--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts")


class Backend(StrEnum):
    """In the order in which `auto` tries them; all but `none` also lock each process themselves."""

    bubblewrap = "bubblewrap"
    landlock = "landlock"
    none = "none"  # no isolation at all


class SandboxUnavailable(UserError):  # noqa: N818 (the name that users are told)
    """No backend works here; the message holds what was found of each."""


@dataclass(frozen=True)
class Choice:
    """The backend of a run, and what the probe found of each that it tried."""

    backend: Backend
    found: Mapping[str, str]

    def __str__(self) -> str:
        others = [f"{name}: {why}" for name, why in self.found.items() if name != self.backend]
        return f"{self.backend}" + (f" ({'; '.join(others)})" if others else "")


def choose(wanted: str, allow_unsafe_execution: bool) -> Choice:
    """The backend that `wanted` names, or for `auto` the first that works; its choice is logged.

    SandboxUnavailable says what the probe found; UserError where `none` is not allowed.
    """
    if wanted not in (*Backend, "auto"):
        raise UserError(f"sandbox={wanted}: expected auto or one of {', '.join(Backend)}.")
    if wanted == Backend.none:
        if not allow_unsafe_execution:
            raise UserError(
                "sandbox=none runs a model's code with all that you may do yourself. If that is "
                "meant, set allow_unsafe_execution=true beside it; else sandbox=auto."
            )
        log.warning("UNSAFE: a model's code is executed without a sandbox (sandbox=none)")
        return Choice(Backend.none, {})
    tried = [Backend(wanted)] if wanted != "auto" else [b for b in Backend if b is not Backend.none]
    found: dict[str, str] = {}
    for backend in tried:
        found[backend] = probe(backend)
        if found[backend] == "works":
            choice = Choice(backend, found)
            log.info("sandbox for a model's code: %s", choice)
            return choice
    raise SandboxUnavailable(
        f"sandbox={wanted}: no sandbox works on this machine, so a model's code is not executed.\n"
        + "\n".join(f"  {name}: {why}" for name, why in found.items())
        + "\nInstall bubblewrap where user namespaces are allowed, or run on Linux 5.13 or newer "
        "(Landlock). docs/code.md says what each needs."
    )


@cache
def probe(backend: Backend) -> str:
    """ "works", or why a program that tries the walls of `backend` did not end as it must."""
    if backend is Backend.bubblewrap and shutil.which("bwrap") is None:
        return "there is no bwrap on the PATH"
    if backend is Backend.landlock and not landlock_abi():
        return "the kernel has no Landlock (Linux 5.13), or a container forbids it"
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    command = [sys.executable, "-P", "-m", "rlvr.sandbox.probe", backend]
    try:
        done = subprocess.run(
            command,
            env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": paths},
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"the probe did not end: {error}"
    said = (done.stdout or done.stderr).strip().splitlines()
    return said[-1] if said else f"the probe ended with exit code {done.returncode}"


def library_roots() -> list[str]:
    """Where Python's own modules and shared libraries lie: all that a candidate may read."""
    prefix = Path(sys.base_prefix).resolve()
    stdlib = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")}
    system = ["/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/share/zoneinfo"]
    named = [prefix / "lib", prefix / "lib64", *map(Path, sorted(stdlib)), *map(Path, system)]
    return list(dict.fromkeys(str(path.resolve()) for path in named if path.is_dir()))


def command(backend: Backend, control: int, limits: Mapping[str, Any]) -> list[str]:
    """What starts the zygote: `control` is the number of its socket, `limits` as `runner` has."""
    executable = os.path.realpath(sys.executable)
    roots = library_roots()
    settings = {
        **limits,
        "locked": backend is not Backend.none,
        "roots": roots,
        "user": 1_900_000_000 + os.getpid(),
        "reads_all": not _open_to_all(roots),
    }
    package = str(Path(__file__).parents[1])
    boot = (  # without `rlvr/__init__.py`, which imports what no sandbox needs
        "import sys, types; package = types.ModuleType('rlvr'); "
        f"package.__path__ = [{package!r}]; sys.modules['rlvr'] = package; "
        "from rlvr.sandbox.zygote import main; main()"
    )
    zygote = [executable, "-I", "-S", "-B", "-X", "utf8", "-c", boot, str(control)]
    zygote.append(json.dumps(settings))
    if backend is Backend.bubblewrap:
        return [*_bubblewrap(executable, roots, package), *zygote]
    return zygote


def _open_to_all(roots: Iterable[str]) -> bool:
    """Whether any user may look into all of them: root's own folder is closed to others."""
    folders = {parent for root in roots for parent in (Path(root), *Path(root).parents)}
    return all(folder.stat().st_mode & 0o005 == 0o005 for folder in folders)


def _bubblewrap(executable: str, roots: list[str], package: str) -> list[str]:
    """All namespaces; libraries read-only, without installed packages; nothing else exists."""
    shown = [executable, *roots, f"{package}/sandbox", "/etc/ld.so.cache"]
    above = sorted({str(folder) for path in shown for folder in Path(path).parents} - {"/"})
    folders = [part for path in above for part in ("--perms", "0755", "--dir", path)]
    binds = [part for path in shown for part in ("--ro-bind-try", path, path)]
    links = [
        part
        for name in ("lib", "lib64")
        if Path("/", name).is_symlink()
        for part in ("--symlink", os.readlink(f"/{name}"), f"/{name}")
    ]
    hidden = [part for path in packages(roots) for part in ("--tmpfs", path)]
    users = ["--unshare-user"]
    if os.geteuid() == 0:  # the zygote makes each candidate a user of its own, without any of these
        kept = ("CAP_SETUID", "CAP_SETGID", "CAP_KILL")
        users = ["--cap-drop", "ALL", *(part for name in kept for part in ("--cap-add", name))]
    return [
        *("bwrap", *NAMESPACES, *users, "--die-with-parent", "--clearenv"),
        *("--setenv", "LANG", "C.UTF-8", "--setenv", "MALLOC_ARENA_MAX", "1"),
        *folders,  # of itself it would close them to other users
        *binds,
        *links,
        *hidden,
        *("--dev", "/dev", "--remount-ro", "/", "--chdir", "/", "--"),
    ]
