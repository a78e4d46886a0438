"""Brings a job's files back and says how it ended. May be repeated: it always gives the same."""

import json
import pickle
from pathlib import Path

from rlvr.launchers.sagemaker.storage import Storage
from rlvr.launchers.sagemaker.training_job import TrainingJob
from rlvr.result import Result, write_atomic
from rlvr.states import State

RESULT = "result.json"
RETURNED = "return.pkl"
LEFT_THERE = ("checkpoints/", "model/")
OUR_OWN = ("lives.json", "job.json", "task.pkl")


def fetch(
    storage: Storage,
    remote: TrainingJob,
    directory: Path,
    *,
    log: str,
    model: bool = True,
    spent: float = 0.0,
) -> None:
    """Download result, metrics, evaluations and model (not the trainer's checkpoints).

    `log` is the name of the file in `directory` that the job's log is followed into, `spent` what
    earlier attempts have cost.

    output.tar.gz is complete for a job that ended by itself; after a kill the copy that SageMaker
    kept of the run's directory is what there is.
    """
    skip = (*OUR_OWN, log)
    if not storage.extract(f"{remote.output_key}/output.tar.gz", directory, skip) or not any(
        (directory / name).is_file() for name in (RESULT, RETURNED)
    ):
        _fetch_copy(storage, remote, directory, skip)
    if model and remote.state is State.finished:
        (directory / "model").mkdir(exist_ok=True)
        storage.extract(f"{remote.output_key}/model.tar.gz", directory / "model")
        if not any((directory / "model").iterdir()):
            (directory / "model").rmdir()
    complete_result(directory, remote, spent)
    _check_return(directory)


def _fetch_copy(
    storage: Storage, remote: TrainingJob, directory: Path, skip: tuple[str, ...]
) -> None:
    for key, _ in list(storage.walk(f"{remote.run_key}/")):
        name = key.removeprefix(f"{remote.run_key}/")
        left = name in skip or name.startswith(LEFT_THERE)
        if not left and ".." not in name.split("/"):
            storage.download(key, directory / name)


def progress(storage: Storage, remote: TrainingJob, directory: Path) -> None:
    """The job's own report of its step and reward, as new as SageMaker's copy of it."""
    body = storage.get(f"{remote.run_key}/progress.json")
    if body:
        write_atomic(directory / "progress.json", body.decode())


def complete_result(directory: Path, remote: TrainingJob, spent: float) -> None:
    """Add what only the controller knows: the cost, and the state of the code it packed."""
    path = directory / RESULT
    if not path.is_file():
        return
    result = json.loads(path.read_text(encoding="utf-8"))
    result["cost"] = None if remote.cost is None else spent + remote.cost
    result["git"] = result.get("git") or remote.git
    write_atomic(path, json.dumps(result, indent=2, ensure_ascii=False) + "\n")


def _check_return(directory: Path) -> None:
    """A pickle of another Python or library version is a failure to report, not to crash on."""
    path = directory / RETURNED
    if path.is_file():
        try:
            pickle.loads(path.read_bytes())
        except Exception as error:
            text = f"the result cannot be unpickled here: {error}"
            path.write_bytes(pickle.dumps((None, text, None)))


def ending(found: Result | None, remote: TrainingJob, max_runtime: int) -> Result:
    """How the job ended, from what it left (`found`) and what SageMaker says."""
    if found is not None and found.status is State.finished:
        return found
    if remote.state is State.finished:
        why = found.error if found else "left no result"
        return Result(State.failed, error=f"the training job {remote.name} completed, but {why}")
    trace = found.traceback if found else None
    if remote.state is State.killed:
        return Result(State.killed, error=_stopped(remote, max_runtime), traceback=trace)
    if found is not None and found.status is State.failed:
        return Result(State.failed, error=found.error, traceback=trace)
    return Result(State.failed, error=remote.failure_reason or "SageMaker gives no reason")


def _stopped(remote: TrainingJob, max_runtime: int) -> str:
    if remote.note == "MaxRuntimeExceeded":
        return (
            f"stopped by SageMaker after launcher.max_runtime={max_runtime} s; its checkpoints are "
            "kept, so a resumed sweep goes on from the last one"
        )
    if remote.note == "MaxWaitTimeExceeded":
        return "stopped by SageMaker: no spot capacity within launcher.max_wait"
    return f"the training job {remote.name} was stopped"
