"""How a job's work reaches another process, and how its result comes back."""

import pickle
import sys
from pathlib import Path
from typing import Protocol

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext, TaskFunction
from omegaconf import OmegaConf

from rlvr import attempts, progress, pruning, result
from rlvr.errors import UserError
from rlvr.manifest import Job
from rlvr.result import Result
from rlvr.states import State
from rlvr.sweep.compose import config_hash, resolved, task_config

PICKLED_TASK = "task.pkl"
PICKLED_RETURN = "return.pkl"


class JobFailedError(UserError):
    """Jobs of a sweep did not finish. `details` is the job's own traceback."""

    def __init__(self, message: str, details: str | None = None) -> None:
        super().__init__(message)
        self.details = details


class Transport(Protocol):
    """`metric` names what a job returns; jobs have their directories already."""

    metric: str

    def hash(self, job: Job) -> str: ...

    def write(self, job: Job) -> None: ...

    def command(self, directory: Path) -> list[str]: ...

    def log(self, job: Job, script: str) -> Path: ...

    def result(self, directory: Path) -> Result | None: ...

    def write_result(self, directory: Path, found: Result) -> None: ...

    def job_return(self, job: Job, found: Result) -> JobReturn: ...


class ResolvedConfig:
    """The job's resolved config as a file, run by `python -m WORKER DIRECTORY`."""

    metric = "trained/accuracy"

    def __init__(self, worker_module: str) -> None:
        self.worker_module = worker_module

    def hash(self, job: Job) -> str:
        return config_hash(resolved(job.config), job.directory)

    def write(self, job: Job) -> None:
        for stale in (result.FILE, progress.FILE, pruning.TOLD):
            (job.directory / stale).unlink(missing_ok=True)
        OmegaConf.save(OmegaConf.create(resolved(job.config)), job.directory / "config.yaml")
        OmegaConf.save(OmegaConf.create(job.overrides), job.directory / "overrides.yaml")

    def command(self, directory: Path) -> list[str]:
        return [sys.executable, "-m", self.worker_module, str(directory.absolute())]

    def log(self, job: Job, script: str) -> Path:
        """Named as Hydra names it; as the script where the config is not composed."""
        name = OmegaConf.select(job.config, "hydra.job.name") or script
        return job.directory / f"{name}.log"

    def result(self, directory: Path) -> Result | None:
        try:
            return result.ended(directory)
        except UserError as error:
            return Result(State.failed, error=str(error))

    def write_result(self, directory: Path, found: Result) -> None:
        """For a job that died before it could write its own: what it had said is kept."""
        said = result.read(directory)
        if said is not None:
            said.status, said.error, said.traceback = found.status, found.error, found.traceback
            said.seconds = attempts.seconds(directory) or said.seconds
        (said or found).write(directory)

    def job_return(self, job: Job, found: Result) -> JobReturn:
        returned = empty_return(job)
        if found.status.complete:  # what was pruned has no value
            returned.return_value, returned.status = found.metric, JobStatus.COMPLETED
        return returned


class PickledTask:
    """Any task function, as cloudpickle; run in the job by Hydra's own `run_job`."""

    metric = "return value"

    def __init__(self, task_function: TaskFunction, context: HydraContext) -> None:
        self.task_function = task_function
        self.context = context

    def hash(self, job: Job) -> str:
        unresolved = OmegaConf.to_container(task_config(job.config), resolve=False)
        assert isinstance(unresolved, dict)
        return config_hash({str(k): v for k, v in unresolved.items()}, job.directory)

    def write(self, job: Job) -> None:
        import cloudpickle

        (job.directory / PICKLED_RETURN).unlink(missing_ok=True)
        task = (self.context, self.task_function, job.config, Singleton.get_state())
        (job.directory / PICKLED_TASK).write_bytes(cloudpickle.dumps(task))

    def command(self, directory: Path) -> list[str]:
        return [sys.executable, "-m", "rlvr.sweep.pickled", str(directory.absolute())]

    def log(self, job: Job, script: str) -> Path:
        return job.directory / "output.log"  # Hydra writes <job name>.log itself

    def result(self, directory: Path) -> Result | None:
        path = directory / PICKLED_RETURN
        if not path.is_file():
            return None
        returned, error, details = pickle.loads(path.read_bytes())
        if error is not None:
            return Result(State.failed, error=error, traceback=details)
        value = returned.return_value
        return Result(State.finished, value if isinstance(value, int | float) else None)

    def write_result(self, directory: Path, found: Result) -> None:
        """A pickled job that died has no result file; the manifest alone says how it ended."""

    def job_return(self, job: Job, found: Result) -> JobReturn:
        if found.status is State.finished:
            returned: JobReturn = pickle.loads((job.directory / PICKLED_RETURN).read_bytes())[0]
            return returned
        return empty_return(job)


def choose(task_function: TaskFunction, context: HydraContext) -> Transport:
    worker_module = getattr(task_function, "worker_module", None)
    if worker_module is None:
        return PickledTask(task_function, context)
    return ResolvedConfig(worker_module)


def empty_return(job: Job) -> JobReturn:
    """A JobReturn as Hydra's run_job fills it, with no value."""
    return JobReturn(
        overrides=job.overrides,
        cfg=task_config(job.config),
        hydra_cfg=OmegaConf.masked_copy(job.config, "hydra"),
        working_dir=str(job.directory),
        task_name=str(job.config.hydra.job.name),
        status=JobStatus.FAILED,
    )
