"""How a job's work reaches another process, and how its result comes back."""

import pickle
import sys
from pathlib import Path
from typing import Protocol

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext, TaskFunction
from omegaconf import OmegaConf

from rlvr import result
from rlvr.errors import UserError
from rlvr.result import Result
from rlvr.states import State
from rlvr.sweep.compose import Request, config_hash, resolved, task_config

PICKLED_TASK = "task.pkl"
PICKLED_RETURN = "return.pkl"


class JobFailedError(UserError):
    """Jobs of a sweep did not finish. `details` is the job's own traceback."""

    def __init__(self, message: str, details: str | None = None) -> None:
        super().__init__(message)
        self.details = details


class Transport(Protocol):
    metric: str

    def hash(self, request: Request, directory: Path) -> str: ...

    def write(self, request: Request, directory: Path) -> None: ...

    def command(self, directory: Path) -> list[str]: ...

    def log(self, request: Request, directory: Path) -> Path: ...

    def result(self, directory: Path) -> Result | None: ...

    def write_result(self, directory: Path, found: Result) -> None: ...

    def job_return(self, request: Request, directory: Path, found: Result) -> JobReturn: ...


class ResolvedConfig:
    """The job's resolved config as a file, run by `python -m WORKER DIRECTORY`."""

    metric = "trained/accuracy"

    def __init__(self, worker_module: str) -> None:
        self.worker_module = worker_module

    def hash(self, request: Request, directory: Path) -> str:
        return config_hash(resolved(request.config), directory)

    def write(self, request: Request, directory: Path) -> None:
        for stale in (result.FILE, "progress.json"):
            (directory / stale).unlink(missing_ok=True)
        OmegaConf.save(OmegaConf.create(resolved(request.config)), directory / "config.yaml")
        OmegaConf.save(OmegaConf.create(request.overrides), directory / "overrides.yaml")

    def command(self, directory: Path) -> list[str]:
        return [sys.executable, "-m", self.worker_module, str(directory.absolute())]

    def log(self, request: Request, directory: Path) -> Path:
        return directory / f"{request.config.hydra.job.name}.log"

    def result(self, directory: Path) -> Result | None:
        try:
            return result.read(directory)
        except UserError as error:
            return Result(State.failed, error=str(error))

    def write_result(self, directory: Path, found: Result) -> None:
        """For a job that died before it could write its own."""
        found.write(directory)

    def job_return(self, request: Request, directory: Path, found: Result) -> JobReturn:
        returned = empty_return(request, directory)
        if found.status is State.finished:
            returned.return_value, returned.status = found.metric, JobStatus.COMPLETED
        return returned


class PickledTask:
    """Any task function, as cloudpickle; run in the job by Hydra's own `run_job`."""

    metric = "return value"

    def __init__(self, task_function: TaskFunction, context: HydraContext) -> None:
        self.task_function = task_function
        self.context = context

    def hash(self, request: Request, directory: Path) -> str:
        unresolved = OmegaConf.to_container(task_config(request.config), resolve=False)
        assert isinstance(unresolved, dict)
        return config_hash({str(k): v for k, v in unresolved.items()}, directory)

    def write(self, request: Request, directory: Path) -> None:
        import cloudpickle

        (directory / PICKLED_RETURN).unlink(missing_ok=True)
        task = (self.context, self.task_function, request.config, Singleton.get_state())
        (directory / PICKLED_TASK).write_bytes(cloudpickle.dumps(task))

    def command(self, directory: Path) -> list[str]:
        return [sys.executable, "-m", "rlvr.sweep.pickled", str(directory.absolute())]

    def log(self, request: Request, directory: Path) -> Path:
        return directory / "output.log"  # Hydra writes <job name>.log itself

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

    def job_return(self, request: Request, directory: Path, found: Result) -> JobReturn:
        if found.status is State.finished:
            returned: JobReturn = pickle.loads((directory / PICKLED_RETURN).read_bytes())[0]
            return returned
        return empty_return(request, directory)


def choose(task_function: TaskFunction, context: HydraContext) -> Transport:
    worker_module = getattr(task_function, "worker_module", None)
    if worker_module is None:
        return PickledTask(task_function, context)
    return ResolvedConfig(worker_module)


def empty_return(request: Request, directory: Path) -> JobReturn:
    """A JobReturn as Hydra's run_job fills it, with no value."""
    return JobReturn(
        overrides=request.overrides,
        cfg=task_config(request.config),
        hydra_cfg=OmegaConf.masked_copy(request.config, "hydra"),
        working_dir=str(directory),
        task_name=str(request.config.hydra.job.name),
        status=JobStatus.FAILED,
    )
