"""Several processes for one run: torchrun starts the same worker once per GPU."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from rlvr import ranks
from rlvr.config import batch
from rlvr.config.schema import Distributed

ZERO3: dict[str, Any] = {
    "zero_optimization": {
        "stage": 3,
        "overlap_comm": True,
        "contiguous_gradients": True,
        "stage3_gather_16bit_weights_on_model_save": True,
    },
    "bf16": {"enabled": "auto"},
    "gradient_accumulation_steps": "auto",
    "gradient_clipping": "auto",
    "train_batch_size": "auto",
    "train_micro_batch_size_per_gpu": "auto",
}


def processes(cfg: DictConfig) -> int:
    """How many processes a run wants: as configured, else as the visible GPUs allow."""
    return batch.processes(cfg, torch.cuda.device_count())


def needs_launch(cfg: DictConfig, count: int) -> bool:
    """ZeRO-3 needs torchrun's environment for a single process too."""
    return not ranks.is_rank() and (count > 1 or cfg.trainer.distributed is Distributed.zero3)


def launch(cfg: DictConfig, run_dir: Path, count: int) -> int:
    """Run `rlvr.worker` in `count` processes on `run_dir/config.yaml`; the exit code.

    A signal that ends this process is passed on, so that ranks can end truthfully too.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={count}", "-m", "rlvr.worker", str(run_dir)]
    env = os.environ | {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // count))}
    if cfg.trainer.distributed is Distributed.zero3:
        env |= _deepspeed(run_dir)
    elif not torch.cuda.is_available():
        env["ACCELERATE_USE_CPU"] = "true"
    with subprocess.Popen(command, env=env) as torchrun:
        try:
            return torchrun.wait()
        except BaseException:
            torchrun.send_signal(signal.SIGTERM)
            raise


def _deepspeed(run_dir: Path) -> dict[str, str]:
    """ZeRO-3 as accelerate reads it. GRPOConfig's own `deepspeed` argument cannot choose gloo."""
    file = run_dir / "deepspeed.json"
    file.write_text(json.dumps(ZERO3, indent=2) + "\n", encoding="utf-8")
    return {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_CONFIG_FILE": str(file)}
