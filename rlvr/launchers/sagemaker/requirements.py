"""Pinned requirements for the jobs: the versions installed here, without what the image brings."""

import importlib.metadata
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

# torch belongs to the image; the others are for the launching side.
NOT_IN_JOBS = {"torch", "sagemaker", "hydra-submitit-launcher", "matplotlib"}
TRACKING = {"mlflow", "sagemaker-mlflow"}


def pinned(root: Path, *, tracking: bool, deepspeed: bool, extra: Iterable[str] = ()) -> str:
    """One `name==version` a line; MLflow only if jobs write to it, DeepSpeed only for ZeRO."""
    left_out = NOT_IN_JOBS | (set() if tracking else TRACKING)
    left_out |= set() if deepspeed else {"deepspeed"}
    names = [name for name in _dependencies(root) if name not in left_out]
    lines = [f"{name}=={importlib.metadata.version(name)}" for name in sorted(names)]
    return "\n".join([*lines, *extra]) + "\n"


def _dependencies(root: Path) -> Iterator[str]:
    project = root / "pyproject.toml"
    if project.is_file():
        listed = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"]
    else:
        listed = importlib.metadata.requires("rlvr") or []
    for requirement in listed:
        if "extra ==" not in requirement:
            yield re.split(r"[^A-Za-z0-9_.-]", requirement, maxsplit=1)[0].lower()
