"""Several processes for one run: torchrun starts the same worker once per GPU."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import torch
from omegaconf import DictConfig

from rlvr.config.schema import Distributed


def processes(cfg: DictConfig) -> int:
    """How many processes a run wants: as configured, else one per visible GPU."""
    if cfg.trainer.distributed is Distributed.none:
        return 1
    return cfg.trainer.num_processes or max(1, torch.cuda.device_count())


def is_rank() -> bool:
    """Whether this process was started by `launch` (or by torchrun in any other way)."""
    return "LOCAL_RANK" in os.environ


def is_main() -> bool:
    return int(os.environ.get("RANK", "0")) == 0


def launch(cfg: DictConfig, run_dir: Path, count: int) -> int:
    """Run `rlvr.worker` in `count` processes on `run_dir/config.yaml`; the exit code.

    A signal that ends this process is passed on, so that ranks can end truthfully too.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={count}", "-m", "rlvr.worker", str(run_dir)]
    env = os.environ | {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // count))}
    if not torch.cuda.is_available() and cfg.trainer.distributed is not Distributed.zero3:
        env["ACCELERATE_USE_CPU"] = "true"
    with subprocess.Popen(command, env=env) as ranks:
        try:
            return ranks.wait()
        except BaseException:
            ranks.send_signal(signal.SIGTERM)
            raise
