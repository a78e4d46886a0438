"""What one job is given: its files, its data channels, and a config that fits its container."""

import copy
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from rlvr.errors import UserError
from rlvr.paths import find

INPUT = "/opt/ml/input/data"
JOB_FILE = "job.json"
CHANNEL = "job"
# What a transport may have written for the worker to read.
SHIPPED = ("config.yaml", "overrides.yaml", "task.pkl")
ANSWERS = "evaluations"  # below the prefix: what base models have answered, shared by all sweeps


def sources(config: dict[str, Any]) -> dict[str, Path]:
    """The local files and folders that a config names, by the channel that brings them."""
    return _move_paths(copy.deepcopy(config))


def files(
    directory: Path, module: str, *, tracked: bool, answers: dict[str, str | None]
) -> dict[str, bytes]:
    """The files of the job's own channel. `directory` is where its transport wrote.

    `tracked` says that it can reach the MLflow store of its config, `answers` where jobs exchange
    what base models have answered.
    """
    found = {
        name: (directory / name).read_bytes() for name in SHIPPED if (directory / name).is_file()
    }
    if "config.yaml" in found:
        config = _load(found["config.yaml"])
        _move_paths(config)
        _fit_to_container(config, tracked)
        found["config.yaml"] = _dump(config)
    start: dict[str, Any] = {"module": module, "answers": answers}
    if "task.pkl" in found:  # Hydra's own run_job has this machine's paths in its config
        start |= {"directory": str(directory.absolute()), "cwd": os.getcwd()}
    return found | {JOB_FILE: json.dumps(start).encode()}


def reachable(uri: str | None) -> bool:
    """Whether a job elsewhere can write to this MLflow store: a server, not a file or this host."""
    if uri is None or uri.startswith(("sqlite:", "file:", "/")):
        return False
    host = urlparse(uri).hostname or ""
    return not (host in ("localhost", "::1", "0.0.0.0") or host.startswith("127."))


def _move_paths(config: dict[str, Any]) -> dict[str, Path]:
    """Point the config at the channels; returns the channels' local sources."""
    sources: dict[str, Path] = {}
    for node, key, channel in _path_settings(config):
        if path := _local(node.get(key)):
            sources[channel] = path
            node[key] = f"{INPUT}/{channel}/{path.name}" if path.is_file() else f"{INPUT}/{channel}"
    return sources


def _path_settings(config: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str, str]]:
    """Settings that may name local files, each with its channel: (node, key, channel)."""
    yield config.get("model") or {}, "path", "model"
    dataset = config.get("dataset") or {}
    yield dataset, "path", "dataset"
    yield dataset, "exemplars", "exemplars"
    yield dataset, "pass_rates", "pass-rates"
    for name, benchmark in ((config.get("eval") or {}).get("benchmarks") or {}).items():
        yield benchmark, "path", f"benchmark-{name}"
        yield benchmark, "exemplars", f"benchmark-{name}-exemplars"


def _local(value: Any) -> Path | None:
    """The existing local file or folder that `value` names; hub names and `package:` do not."""
    if not isinstance(value, str) or value.startswith("package:"):
        return None
    path = find(value)
    if path.exists():
        return path.resolve()
    if value.startswith(("/", "./", "../", "~")):
        raise UserError(f"{value}: no such file or directory, so it cannot be uploaded for the job")
    return None


def _fit_to_container(config: dict[str, Any], tracked: bool) -> None:
    config["launcher"] = {}
    config["output_dir"] = "/opt/ml/output/data"
    if not tracked and isinstance(config.get("tracking"), dict):
        config["tracking"] |= {"name": "none", "uri": None}


def _load(text: bytes) -> dict[str, Any]:
    from omegaconf import OmegaConf

    loaded = OmegaConf.to_container(OmegaConf.create(text.decode()))
    assert isinstance(loaded, dict)
    return {str(key): value for key, value in loaded.items()}


def _dump(config: dict[str, Any]) -> bytes:
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.create(config)).encode()
