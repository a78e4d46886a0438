"""Run one pickled job: `python -m rlvr.sweep.pickled JOB_DIR`."""

import pickle
import sys
import traceback
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals

from rlvr.interruptions import end_on_signals
from rlvr.processes import end_own_group, end_with_parent
from rlvr.sweep.transport import PICKLED_RETURN, PICKLED_TASK
from rlvr.worker import TERMINATED


def main(directory: Path) -> int:
    end_on_signals()
    try:
        end_with_parent()
        return _save(directory, _run(directory))
    except KeyboardInterrupt:
        end_own_group()
        return TERMINATED


def _run(directory: Path) -> JobReturn:
    context, task_function, config, singletons = pickle.loads(
        (directory / PICKLED_TASK).read_bytes()
    )
    Singleton.set_state(singletons)
    setup_globals()
    return run_job(
        task_function=task_function,
        config=config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
        hydra_context=context,
    )


def _save(directory: Path, returned: JobReturn) -> int:
    """Writes (JobReturn, error, traceback); an exception travels as text, it may not unpickle."""
    import cloudpickle

    record: tuple[Any, str | None, str | None] = (returned, None, None)
    if returned.status is not JobStatus.COMPLETED:
        error = returned._return_value
        text = "".join(traceback.format_exception(error))
        print(text, file=sys.stderr)
        record = (None, f"{type(error).__name__}: {error}", text)
    temporary = directory / f".{PICKLED_RETURN}"
    temporary.write_bytes(cloudpickle.dumps(record))
    temporary.replace(directory / PICKLED_RETURN)
    return 0 if returned.status is JobStatus.COMPLETED else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
