"""What is put around the zygote.

Every worker imports this, so that nothing is imported here but the standard library.
"""

import json
import os
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rlvr.sandbox.restrict import PACKAGES

# All that a candidate sees. Symbols that were bound late would be bound by every candidate again.
ENVIRONMENT = {"LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "1", "LD_BIND_NOW": "1"}
NAMESPACES = ("--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts")


class Backend(StrEnum):
    """In the order in which `auto` tries them; all but `none` also lock each process themselves."""

    bubblewrap = "bubblewrap"
    sandlock = "sandlock"
    landlock = "landlock"
    none = "none"  # no isolation at all


def library_roots() -> list[str]:
    """Where Python's own modules and shared libraries lie: all that a candidate may read."""
    prefix = Path(sys.base_prefix).resolve()
    stdlib = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")}
    system = ["/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/share/zoneinfo"]
    named = [prefix / "lib", prefix / "lib64", *map(Path, sorted(stdlib)), *map(Path, system)]
    return list(dict.fromkeys(str(path.resolve()) for path in named if path.is_dir()))


def command(backend: Backend, limits: Mapping[str, Any]) -> list[str]:
    """What starts the zygote, whose standard input is its socket; `limits` as `runner` has."""
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
    zygote = [executable, "-I", "-S", "-B", "-X", "utf8", "-c", boot, json.dumps(settings)]
    if backend is Backend.bubblewrap:
        return [*_bubblewrap(executable, roots, package), *zygote]
    if backend is Backend.sandlock:
        return [*_sandlock(executable, roots, package), json.dumps(zygote)]
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
    hidden = [part for path in _packages(roots) for part in ("--tmpfs", path)]
    users = ["--unshare-user"]
    if os.geteuid() == 0:  # the zygote makes each candidate a user of its own, without any of these
        kept = ("CAP_SETUID", "CAP_SETGID", "CAP_KILL")
        users = ["--cap-drop", "ALL", *(part for name in kept for part in ("--cap-add", name))]
    return [
        *("bwrap", *NAMESPACES, *users, "--die-with-parent", "--clearenv"),
        *(part for pair in ENVIRONMENT.items() for part in ("--setenv", *pair)),
        *folders,  # of itself it would close them to other users
        *binds,
        *links,
        *hidden,
        *("--dev", "/dev", "--remount-ro", "/", "--chdir", "/", "--"),
    ]


def _packages(roots: Iterable[str]) -> list[str]:
    """The folders of installed packages."""
    below = (path for root in roots for path in (Path(root), *Path(root).glob("python*")))
    return [str(path / name) for path in below for name in PACKAGES if (path / name).is_dir()]


def _sandlock(executable: str, roots: list[str], package: str) -> list[str]:
    """Its own Landlock and seccomp, with a supervisor; a program of ours that is given what may be
    read, and the zygote's command."""
    found = find_spec("sandlock")
    assert found is not None
    assert found.origin is not None
    launcher = Path(__file__).with_name("sandlock_launcher.py")
    read = [executable, *roots, package, "/dev"]
    installed = Path(found.origin).parents[1]
    shown = json.dumps(ENVIRONMENT)
    return [sys.executable, "-P", str(launcher), str(installed), json.dumps(read), shown]
