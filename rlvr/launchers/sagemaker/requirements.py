"""What pip installs in a job's image, resolved here for its Linux and its Python.

This machine may be another: what it lacks, such as the Linux-only packages on a Mac, has the
version that the project was tested with, or else the project's own bound.
"""

import importlib.metadata
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rlvr.launchers.sagemaker.settings import SageMakerSettings
from rlvr.paths import PROJECT

if TYPE_CHECKING:
    from packaging.requirements import Requirement

FILE = "requirements.txt"
LOCK = "lock.txt"
# torch belongs to the image; the others are for the launching side.
NOT_IN_JOBS = {"torch", "sagemaker", "hydra-submitit-launcher", "matplotlib"}
TRACKING = {"mlflow", "sagemaker-mlflow"}
PYTHONS = ("3.11", "3.12", "3.13")  # that images without one in their name may have


def requirements(
    settings: SageMakerSettings, *, tracked: bool, deepspeed: bool, image: str
) -> dict[str, str]:
    """Texts by file name, nothing where the image has everything.

    `auto` pins the versions installed here: of what jobs import in requirements.txt, of all that
    comes with it in lock.txt, as constraints. MLflow is only for jobs that write to it
    (`tracked`), DeepSpeed only for ZeRO.
    """
    if not settings.requirements:
        return {}
    if settings.requirements != "auto":
        return {FILE: Path(settings.requirements).expanduser().read_text(encoding="utf-8")}
    lacking = (set() if tracked else TRACKING) | (set() if deepspeed else {"deepspeed"})
    pythons = [f"3.{minor}" for minor in re.findall(r"-py3(\d+)", image)] or list(PYTHONS)
    direct = [r for r in _declared(PROJECT) if r.name.lower() not in NOT_IN_JOBS | lacking]
    wanted = [r for r in direct if _applies(r, pythons)]
    lines = [f"-c {LOCK}", *sorted(_pin(r, pythons) for r in wanted), *settings.extra_requirements]
    locked = sorted(_pin(r, pythons) for r in _closure(wanted, pythons))
    return {FILE: "\n".join(lines) + "\n", LOCK: "\n".join(locked) + "\n"}


def _declared(root: Path) -> Iterator["Requirement"]:
    from packaging.requirements import Requirement

    project = root / "pyproject.toml"
    if project.is_file():
        listed = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"]
    else:
        listed = importlib.metadata.requires("rlvr") or []
    yield from map(Requirement, listed)


def _applies(requirement: "Requirement", pythons: list[str], extras: tuple[str, ...] = ()) -> bool:
    """In the image, whose Python is one of `pythons`."""
    if requirement.marker is None:
        return True
    image = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}
    image |= {"platform_machine": "x86_64", "implementation_name": "cpython"}
    image |= {"platform_python_implementation": "CPython"}
    return any(
        requirement.marker.evaluate(
            {**image, "python_version": p, "python_full_version": f"{p}.0", "extra": extra}
        )
        for p in pythons
        for extra in ("", *extras)
    )


def _closure(direct: list["Requirement"], pythons: list[str]) -> list["Requirement"]:
    """What is installed here of all that the direct ones need, but for what is the image's."""
    from packaging.requirements import Requirement

    found: dict[str, Requirement] = {}
    waiting, seen = list(direct), set()
    while waiting:
        requirement = waiting.pop()
        name, extras = _normal(requirement.name), tuple(sorted(requirement.extras))
        installed = _installed(name)
        if name in NOT_IN_JOBS or (name, extras) in seen or installed is None:
            continue
        seen.add((name, extras))
        found[name] = Requirement(name)
        needed = map(Requirement, installed.requires or [])
        waiting += [r for r in needed if _applies(r, pythons, extras)]
    return list(found.values())


def _pin(requirement: "Requirement", pythons: list[str]) -> str:
    """`name==version` as it is here, where the image's Python can have that."""
    from packaging.specifiers import SpecifierSet

    name, installed = _normal(requirement.name), _installed(requirement.name)
    if installed is not None:
        runs_on = SpecifierSet(installed.metadata["Requires-Python"] or "")
        if any(f"{python}.99" in runs_on for python in pythons):
            return f"{name}=={installed.version.partition('+')[0]}"
    return f"{name}{_tested_with().get(name) or requirement.specifier}"


def _tested_with() -> dict[str, str]:
    """`==version` by name, of the project's own constraints; nothing outside a clone."""
    file = PROJECT / "constraints.txt"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    pins = (line.partition("==") for line in lines if "==" in line)
    return {_normal(name): f"=={version}" for name, _, version in pins}


def _installed(name: str) -> importlib.metadata.Distribution | None:
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
