"""An array of jobs as submitit submits it: its script, its resources, and what its tasks load."""

import os
import shlex
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rlvr.launchers.slurm.node import start
from rlvr.launchers.slurm.settings import SlurmSettings
from rlvr.sweep.controller import importable_paths

COMMON = ("nodes", "gpus_per_node", "cpus_per_task", "mem_gb", "timeout_min")
SLURM_ONLY = ("partition", "account", "qos", "signal_delay_s")


def submit(folder: Path, name: str, settings: SlurmSettings, count: int) -> tuple[list[str], str]:
    """Slurm's numbers of the tasks, none where sbatch gave no answer; and what it said.

    `name` finds the array again; `folder` has each task's description and gets its output.
    """
    import submitit
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    os.environ.pop("SBATCH_JOB_NAME", None)  # it would go before ours
    executor = submitit.AutoExecutor(folder=folder, cluster="slurm")
    executor.update_parameters(**_parameters(settings, name))
    try:
        with executor.batch():
            made = [executor.submit(start, str(folder)) for _ in range(count)]
    except (FailedJobError, FailedSubmissionError) as error:
        return [], str(error).strip() or "sbatch failed without a word"
    return [job.job_id for job in made], ""


def complete(folder: Path, job_id: str) -> None:
    """Give a task what it loads: submitit puts it in its place only once sbatch has answered, and
    a task waits for it for a minute. All tasks load the same."""
    wanted = folder / f"{job_id}_submitted.pkl"
    if not wanted.exists() and (left := next(folder.glob("*.pkl"), None)):
        shutil.copy(left, wanted.with_suffix(".new"))
        wanted.with_suffix(".new").rename(wanted)


def _parameters(settings: SlurmSettings, name: str) -> dict[str, Any]:
    """Names as submitit has them: what only Slurm knows starts with slurm_."""
    given = asdict(settings)
    named = {f"slurm_{key}": given[key] for key in SLURM_ONLY}
    named |= {key: given[key] for key in COMMON}
    paths = f"export PYTHONPATH={shlex.quote(importable_paths())}${{PYTHONPATH:+:$PYTHONPATH}}"
    # since Slurm 22.05 a step does not get the cores of its job unless it asks for them
    cores = 'export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"'
    named["slurm_setup"] = [*settings.setup, paths, *([cores] if settings.cpus_per_task else [])]
    named["slurm_array_parallelism"] = settings.n_jobs
    named["slurm_stderr_to_stdout"] = True
    named["slurm_additional_parameters"] = {"requeue": True, **settings.additional_parameters}
    return {"name": name, "tasks_per_node": 1} | {k: v for k, v in named.items() if v}
