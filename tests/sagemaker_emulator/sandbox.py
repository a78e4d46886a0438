"""Runs a command as PID 1 of its own namespaces with a directory mounted at /opt/ml.

PID 1 matters: the kernel drops signals it has no handler for, which is why SIGTERM never reaches
a training script behind bash. An emulator without a PID namespace would hide that.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

MODES = ("overlay", "bwrap", "userns")
WHY_NOT = "no isolation: needs root, bubblewrap or unprivileged user namespaces"

_OVERLAY = """set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$EMU_JOB/mnt"
mkdir "$EMU_JOB/mnt/upper" "$EMU_JOB/mnt/work" "$EMU_JOB/mnt/root"
R="$EMU_JOB/mnt/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$EMU_JOB/mnt/upper,workdir=$EMU_JOB/mnt/work" "$R"
mount -t proc proc "$R/proc"
mount --rbind /dev "$R/dev"
mount --rbind /sys "$R/sys"
IFS=:
for m in $EMU_EXTRA; do mkdir -p "$R$m"; mount --rbind "$m" "$R$m"; done
for h in $EMU_HIDE; do mount --bind "$EMU_JOB/empty" "$R$h"; done
unset IFS
mkdir -p "$R/opt/ml"
mount --bind "$EMU_JOB/ml" "$R/opt/ml"
[ -e "$R/etc/hosts" ] && mount --bind "$EMU_JOB/hosts" "$R/etc/hosts"
hostname "$EMU_HOST"
: > "$EMU_JOB/started"
unset EMU_JOB EMU_EXTRA EMU_HIDE EMU_HOST
cd "$R"
exec chroot "$R" "$@"
"""

_USERNS = """set -e
mkdir "$EMU_JOB/opt"
for c in /opt/*; do
  [ "$c" = /opt/ml ] && continue
  [ -d "$c" ] && mkdir "$EMU_JOB/opt/${c#/opt/}"
done
mkdir "$EMU_JOB/opt/ml"
mount --bind "$EMU_JOB/ml" "$EMU_JOB/opt/ml"
for c in /opt/*; do
  [ "$c" = /opt/ml ] && continue
  [ -d "$c" ] && mount --rbind "$c" "$EMU_JOB/opt/${c#/opt/}"
done
mount --rbind "$EMU_JOB/opt" /opt
IFS=:
for h in $EMU_HIDE; do mount --bind "$EMU_JOB/empty" "$h"; done
unset IFS
mount --bind "$EMU_JOB/hosts" /etc/hosts || true
mount -t proc proc /proc || true
hostname "$EMU_HOST"
: > "$EMU_JOB/started"
unset EMU_JOB EMU_EXTRA EMU_HIDE EMU_HOST
cd /
exec "$@"
"""


@dataclass
class Sandbox:
    """One container: `job_dir` must hold `ml/`; host paths in `hide` look empty inside, those in
    `share` are the host's own, as on a shared file system (only overlay hides the others)."""

    job_dir: Path
    mode: str
    hostname: str = "algo-1"
    hosts: dict[str, str] = field(default_factory=lambda: {"algo-1": "127.0.0.1"})
    hide: Sequence[Path] = ()
    share: Sequence[Path] = ()
    process: subprocess.Popen[bytes] | None = None

    def start(self, command: Sequence[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
        """Start `command`; stdout and stderr come together from the returned process's stdout."""
        for name in ("mnt", "empty"):
            (self.job_dir / name).mkdir(exist_ok=True)
        lines = [f"{ip} {name}" for name, ip in ({"localhost": "127.0.0.1"} | self.hosts).items()]
        (self.job_dir / "hosts").write_text("\n".join(lines) + "\n")
        # the kernel kills the whole tree when the emulator dies, however it dies
        self.process = subprocess.Popen(
            [_tool("setpriv"), "--pdeathsig", "KILL", *self._launcher(), *command],
            env=env | self._script_env(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        return self.process

    def signal(self, number: int) -> None:
        """Signal PID 1 of the container, once it runs the container's own command."""
        assert self.process
        deadline = time.monotonic() + 5
        while not self._started() and self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        for pid in _children(self.process.pid):
            os.kill(pid, number)

    def kill(self) -> None:
        """End every process of the container."""
        if self.process and self.process.poll() is None:
            for pid in _children(self.process.pid):
                os.kill(pid, 9)
            self.process.kill()

    def _started(self) -> bool:
        return self.mode == "bwrap" or (self.job_dir / "started").exists()

    def _script_env(self) -> dict[str, str]:
        if self.mode == "bwrap":
            return {}
        return {
            "EMU_JOB": str(self.job_dir),
            "EMU_HOST": self.hostname,
            "EMU_EXTRA": ":".join([*_mounts_needed(), *map(str, self.share)]),
            "EMU_HIDE": ":".join(map(str, self.hide)),
        }

    def _launcher(self) -> list[str]:
        if self.mode == "overlay":
            flags = ["-m", "-p", "-u", "-f", "--kill-child"]
            return [_tool("unshare"), *flags, "sh", "-c", _OVERLAY, "sh"]
        if self.mode == "userns":
            flags = ["-U", "-r", "-m", "-p", "-u", "-f", "--kill-child"]
            return [_tool("unshare"), *flags, "sh", "-c", _USERNS, "sh"]
        return [
            *(_tool("bwrap"), "--dev-bind", "/", "/", "--tmpfs", "/opt"),
            *(word for path in _children_of_opt() for word in ("--dev-bind", path, path)),
            *("--bind", str(self.job_dir / "ml"), "/opt/ml"),
            *(word for path in self.hide for word in ("--tmpfs", str(path))),
            *("--ro-bind", str(self.job_dir / "hosts"), "/etc/hosts"),
            *("--unshare-pid", "--unshare-uts", "--hostname", self.hostname),
            *("--proc", "/proc", "--as-pid-1", "--die-with-parent", "--"),
        ]


@lru_cache
def available_mode() -> str | None:
    """The first isolation mode that works here: overlay, bwrap, userns, or None."""
    return next((mode for mode in MODES if works(mode)), None)


def works(mode: str) -> bool:
    """Whether a probe in this mode runs as PID 1 and writes through /opt/ml."""
    import tempfile

    tool = "bwrap" if mode == "bwrap" else "unshare"
    if not shutil.which(tool) or not shutil.which("setpriv"):
        return False
    if mode == "overlay" and os.geteuid() != 0:
        return False
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "ml").mkdir()
        box = Sandbox(Path(folder), mode)
        probe = "[ $$ = 1 ] && echo ok > /opt/ml/probe"
        try:
            box.start(["sh", "-c", probe], dict(os.environ)).communicate(timeout=20)
        except subprocess.TimeoutExpired:
            box.kill()
        return (Path(folder) / "ml" / "probe").exists()


def _tool(name: str) -> str:
    """Its path here: the container's own PATH is another."""
    return shutil.which(name) or name


def _children(pid: int) -> list[int]:
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _children_of_opt() -> list[str]:
    return [str(p) for p in Path("/opt").iterdir() if p.is_dir() and p.name != "ml"]


@lru_cache
def _mounts_needed() -> list[str]:
    """Mount points other than / that hold this interpreter: the overlay of / does not show them."""
    points = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    wanted = {Path(sys.prefix), Path(sys.base_prefix).resolve(), Path(sys.executable).resolve()}
    holding = {
        max((p for p in points if path == Path(p) or Path(p) in path.parents), key=len)
        for path in wanted
    }
    return sorted(holding - {"/"})
