"""A run by itself, in a directory that can be named: started, gone on with, or done already."""

import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rlvr import config, manifest, tracking
from rlvr.config.pruner import PrunerName
from rlvr.dotted_keys import flatten, is_of_the_run
from rlvr.errors import UserError
from rlvr.formatting import percent
from rlvr.result import Result, ended, read, write_atomic
from rlvr.states import State

CONFIG = "config.yaml"
OVERRIDES = "overrides.yaml"
STARTED_IN = "started_in"  # the directory that relative paths in the configuration refer to
LOG = "train.log"


def start(cfg: DictConfig, directory: Path, overrides: list[str]) -> float:
    """Train in `directory` and return the metric; go on with a run of the same configuration there.

    One that is finished is said and returned. Raises UserError where another configuration has
    run, or another process runs.
    """
    if cfg.launcher.get("resume") is not None:
        raise UserError("launcher.resume goes on with a sweep: add -m, or see `rlvr resume --help`")
    directory.mkdir(parents=True, exist_ok=True)
    with manifest.claim(directory):
        cfg.run = directory.name
        if changed := list(_differences(cfg, directory)):
            raise UserError(
                f"{directory} holds a run of another configuration ({'; '.join(changed[:4])}"
                f"{'; ...' * (len(changed) > 4)}): choose another run=NAME, or remove the directory"
            )
        if not _is_complete(cfg, directory):
            write_atomic(directory / CONFIG, config.to_yaml(cfg))
            OmegaConf.save(OmegaConf.create(overrides), directory / OVERRIDES)
            write_atomic(directory / STARTED_IN, str(Path.cwd()))
        return _go_on(cfg, directory)


def resume(directory: Path) -> float:
    """Go on with the run of this directory, as it was configured and where it was started."""
    if (directory.parent / manifest.FILE).is_file():
        raise UserError(
            f"{directory} is a job of a sweep: go on with the sweep by `rlvr resume "
            f"{directory.parent}`"
        )
    directory = directory.absolute()
    cfg = config.load(directory / CONFIG)
    where = directory / STARTED_IN
    if where.is_file() and Path(where.read_text(encoding="utf-8")).is_dir():
        os.chdir(where.read_text(encoding="utf-8"))
    config.validate(cfg)
    _log_to(directory / LOG)
    with manifest.claim(directory):
        return _go_on(cfg, directory)


def is_run(directory: Path) -> bool:
    return (directory / CONFIG).is_file() and not (directory / manifest.FILE).is_file()


def state(directory: Path) -> State:
    """How the run ended; `lost` where it has not said so."""
    result = ended(directory)
    return State.lost if result is None else result.status


def _is_complete(cfg: DictConfig, directory: Path) -> bool:
    """What was pruned goes on without a pruner."""
    if not is_run(directory):
        return False
    return state(directory) is State.finished or (
        state(directory) is State.pruned and cfg.pruner.name is not PrunerName.none
    )


def _go_on(cfg: DictConfig, directory: Path) -> float:
    from rlvr.run import RUN_ID_FILE, metric, run

    if _is_complete(cfg, directory):
        result = read(directory)
        assert result is not None
        if result.status is State.pruned:
            print(f"{directory} was pruned: {result.error}. With pruner=none it goes on.")
        else:
            print(f"{directory} is finished already{_score(result)}")
        return metric(result)

    earlier = directory / RUN_ID_FILE
    if earlier.is_file():
        os.environ[tracking.RUN_ID_VARIABLE] = earlier.read_text(encoding="utf-8")
    return run(cfg, directory)


def _score(result: Result) -> str:
    return f": accuracy {percent(result.trained['accuracy'])} %" if result.trained else ""


def _differences(cfg: DictConfig, directory: Path) -> Iterator[str]:
    """What the run that is here has set otherwise, as `shots=4, was 2`."""
    if not is_run(directory):
        return
    earlier, now = _values(OmegaConf.load(directory / CONFIG)), _values(cfg)
    for key in sorted(earlier.keys() | now.keys()):
        if earlier.get(key) != now.get(key):
            yield f"{key}={json.dumps(now.get(key))}, was {json.dumps(earlier.get(key))}"


def _values(cfg: Any) -> dict[str, Any]:
    tree: Any = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
    leaves = flatten({key: value for key, value in tree.items() if is_of_the_run(key)})
    return {key: value for key, value in leaves if key != "trainer.resume"}


def _log_to(file: Path) -> None:
    from rlvr.worker import LOG_FORMAT

    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout), logging.FileHandler(file)]
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, handlers=handlers)
