"""From Hydra's overrides to jobs: compose, check and name every one before any starts."""

import copy
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import filter_overrides
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from rlvr.compare.names import named
from rlvr.dotted_keys import is_of_the_run, override_key, split_overrides
from rlvr.errors import UserError
from rlvr.manifest import Job
from rlvr.sweep.command import OF_A_RESUME


def compose(
    loader: ConfigLoader,
    master: DictConfig,
    job_overrides: Sequence[Sequence[str]],
    first_index: int,
) -> list[Job]:
    swept = _swept_keys(loader, master)
    jobs = []
    for index, given in enumerate(job_overrides, first_index):
        overrides = [o for o in filter_overrides(given) if override_key(o) not in OF_A_RESUME]
        config = loader.load_sweep_config(master, list(given))
        name = _name(overrides, swept, config) or str(config.hydra.job.name)
        jobs.append(Job(index, name, hash="", overrides=overrides, dir="", config=config))
    return jobs


def place(job: Job, sweep_dir: Path) -> None:
    """Let the job's config say its number and the directory that follows from it."""
    hydra = job.config.hydra
    with read_write(hydra), open_dict(hydra):
        hydra.job.num = job.index
        hydra.job.id = str(job.index)
        hydra.sweep.dir = str(sweep_dir)
        job.directory = sweep_dir / str(hydra.sweep.subdir)
        job.dir = os.path.relpath(job.directory, sweep_dir)
        hydra.runtime.output_dir = str(job.directory.absolute())
    if "run" in job.config:
        with read_write(job.config):
            job.config.run = sweep_dir.name


def _swept_keys(loader: ConfigLoader, master: DictConfig) -> set[str]:
    parser = OverridesParser.create(config_loader=loader)
    given = parser.parse_overrides(list(master.hydra.overrides.task))
    keys = {str(o.key_or_group) for o in given if o.is_sweep_override()}
    params = OmegaConf.select(master, "hydra.sweeper.params") or {}
    return keys | {str(key).lstrip("+~") for key in params}


def _name(overrides: list[str], swept: set[str], config: DictConfig) -> str:
    """What varies, as in the final table: `shots=2 lr=3e-4`."""
    typed = split_overrides(overrides)
    keys = [key for key in typed if key in swept] or [key for key in typed if is_of_the_run(key)]
    return named({key: typed[key] for key in keys}, config)


def sweep_name(loader: ConfigLoader, master: DictConfig) -> str:
    """Where the sweep is recorded and what varies in it: `2025-01-31_12-00-00 shots,seed`."""
    swept = ",".join(sorted(_swept_keys(loader, master)))
    return f"{Path(str(master.hydra.sweep.dir)).name} {swept}".strip()


def refuse_swept_name(loader: ConfigLoader, master: DictConfig) -> None:
    if "run" in _swept_keys(loader, master):
        raise UserError("run names the directory of the whole sweep and cannot be swept: run=NAME")


def check_one_launcher(master: DictConfig, jobs: list[Job]) -> None:
    """Hydra takes the launcher from the master config and would silently run every job there."""
    used = _launcher(master)
    for job in jobs:
        asked = _launcher(job.config)
        if asked != used:
            raise UserError(
                f"a sweep runs on one launcher: this one has hydra/launcher={used}, but job "
                f"{job.name!r} selects {asked}. Start one sweep per launcher, and select it "
                "for the whole sweep (launcher=NAME, without a comma)."
            )
    names = {str(OmegaConf.select(job.config, "launcher.name")) for job in jobs}
    if len(names) > 1:
        raise UserError(f"a sweep runs on one launcher, not on {', '.join(sorted(names))}")


def _launcher(config: DictConfig) -> str:
    return str(config.hydra.runtime.choices.get("hydra/launcher"))


Problems: TypeAlias = dict[str, list[Job]]


def validate(jobs: list[Job], check: Callable[[DictConfig], None]) -> None:
    """Check every job; raises one UserError with all problems, each once, with its jobs."""

    def nothing_more(job: Job) -> tuple[str, ...]:
        check(task_config(job.config))
        return ()

    refuse(jobs, problems(jobs, nothing_more))


def problems(jobs: Sequence[Job], check: Callable[[Job], Iterable[str]]) -> Problems:
    """What `check` gives or raises for jobs, or an interpolation that fails, and for which."""
    found: Problems = {}
    for job in jobs:
        try:
            with hydra_config(job.config):
                texts = [*check(job)]
                resolved(job.config)
        except (UserError, OmegaConfBaseException) as error:
            texts = [str(error)]
        for text in texts:
            found.setdefault(text, []).append(job)
    return found


def refuse(jobs: Sequence[Job], found: Problems) -> None:
    """Raise UserError where there are problems."""
    if found:
        bad = len({job.index for refused in found.values() for job in refused})
        text = "\n".join(_describe(message, refused) for message, refused in found.items())
        raise UserError(f"{bad} of {len(jobs)} jobs cannot run, so none was started:\n{text}")


def _describe(message: str, refused: list[Job]) -> str:
    labels = [job.label for job in refused]
    shown = labels[:4] + ([f"and {len(labels) - 4} more"] if len(labels) > 4 else [])
    indented = message.strip().replace("\n", "\n    ")
    return f"  job {'; '.join(shown)}\n    {indented}"


@contextmanager
def hydra_config(config: DictConfig) -> Iterator[None]:
    """Let `${hydra:...}` see this job's node, as it does inside a job."""
    previous = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(config)
    try:
        yield
    finally:
        HydraConfig.instance().cfg = previous


def task_config(config: DictConfig) -> DictConfig:
    """What the task function gets: everything but Hydra's node."""
    task = copy.deepcopy(config)
    with read_write(task), open_dict(task):
        del task["hydra"]
    return task


def resolved(config: DictConfig) -> dict[str, Any]:
    """Plain values of the job's config, without Hydra's node; missing ones stay `???`."""
    with hydra_config(config):
        return {str(key): _plain(config, str(key)) for key in config if key != "hydra"}


def _plain(config: DictConfig, key: str) -> Any:
    return "???" if OmegaConf.is_missing(config, key) else plain(config[key])


def plain(value: Any) -> Any:
    if OmegaConf.is_config(value):
        return OmegaConf.to_container(value, resolve=True, enum_to_str=True)
    return value


def config_hash(values: dict[str, Any], directory: Path) -> str:
    """sha256 of what decides the job's result; its own directory does not."""
    kept = {key: value for key, value in values.items() if is_of_the_run(key)}
    text = json.dumps(kept, sort_keys=True, default=str).replace(str(directory.absolute()), "")
    return hashlib.sha256(text.encode()).hexdigest()
