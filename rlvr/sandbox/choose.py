"""Which sandbox this machine can do: tried out, chosen and said, or refused."""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

from rlvr.errors import UserError
from rlvr.sandbox.backends import Backend
from rlvr.sandbox.restrict import landlock_abi

log = logging.getLogger(__name__)

PROBE_SECONDS = 60.0
SANDLOCK_ABI = 6  # Linux 6.12


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
    if backend is Backend.sandlock and find_spec("sandlock") is None:
        return "the package sandlock is not installed: pip install 'rlvr[sandbox]'"
    if backend is Backend.sandlock and landlock_abi() < SANDLOCK_ABI:
        return f"the kernel's Landlock has ABI {landlock_abi()}, {SANDLOCK_ABI} is needed"
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
