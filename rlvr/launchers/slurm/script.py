"""What sbatch is given: an array with a task for each job, where srun starts `node` once a node."""

import shlex
import sys
from pathlib import Path
from typing import Any

from rlvr.launchers.slurm.settings import SlurmSettings
from rlvr.sweep.controller import importable_paths


def script(settings: SlurmSettings, name: str, folder: Path, tasks: int) -> str:
    """`name` finds the array again; `folder` has each task's description and gets its output."""
    node = shlex.join([sys.executable, "-u", "-m", "rlvr.launchers.slurm.node", str(folder)])
    lines = [
        "#!/bin/bash",
        *(_option(key, value) for key, value in _options(settings, name, folder, tasks).items()),
        *settings.setup,
        f"export PYTHONPATH={shlex.quote(importable_paths())}${{PYTHONPATH:+:$PYTHONPATH}}",
        # since Slurm 22.05 a step does not get the cores of its job unless it asks for them
        'export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"' if settings.cpus_per_task else "",
        f'srun --unbuffered {node} "$SLURM_ARRAY_TASK_ID"',
    ]
    return "\n".join(line for line in lines if line) + "\n"


def _options(settings: SlurmSettings, name: str, folder: Path, tasks: int) -> dict[str, Any]:
    most = min(settings.n_jobs or tasks, tasks)
    ours = {
        "job-name": name,
        "array": f"0-{tasks - 1}%{most}",
        "output": folder / "%a.log",
        "open-mode": "append",
        "requeue": True,
        "time": settings.timeout_min,
        "signal": f"USR2@{settings.signal_delay_s}",
        "partition": settings.partition,
        "account": settings.account,
        "qos": settings.qos,
        "nodes": settings.nodes,
        "ntasks-per-node": 1,
        "gpus-per-node": settings.gpus_per_node,
        "cpus-per-task": settings.cpus_per_task,
        "mem": settings.mem_gb and f"{settings.mem_gb * 1024:.0f}M",
    }
    others = {key.replace("_", "-"): v for key, v in settings.additional_parameters.items()}
    return {key: value for key, value in {**ours, **others}.items() if value}


def _option(key: str, value: Any) -> str:
    return f"#SBATCH --{key}" if value is True else f"#SBATCH --{key}={shlex.quote(str(value))}"
