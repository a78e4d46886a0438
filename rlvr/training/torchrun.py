"""Several processes for one run, on one machine or on several: torchrun starts the same worker once
per GPU, and the worker's accelerate learns from the environment how they share the work."""

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
from rlvr.errors import UserError
from rlvr.processes import PARENT, await_place, end_with_parent

SIGNALS = "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR2"  # the last is Slurm's: the time is nearly up
PORT = 29541  # of the first machine, where the others meet it
DEEPSPEED: dict[str, Any] = {
    "bf16": {"enabled": "auto"},
    "gradient_accumulation_steps": "auto",
    "gradient_clipping": "auto",
    "train_batch_size": "auto",
    "train_micro_batch_size_per_gpu": "auto",
}
ZERO = {
    Distributed.zero2: {"stage": 2, "overlap_comm": True, "contiguous_gradients": True},
    Distributed.zero3: {
        "stage": 3,
        "overlap_comm": True,
        "contiguous_gradients": True,
        "stage3_gather_16bit_weights_on_model_save": True,
    },
}
FSDP2 = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",  # the saved model is a whole one
}


def processes(cfg: DictConfig) -> int:
    """How many processes a run wants, on all its machines: as configured, else as the GPUs allow.

    Raises UserError where the machines cannot share them evenly.
    """
    hosts = len(ranks.hosts())
    if (cfg.trainer.num_processes or 0) % hosts:
        raise UserError(
            f"trainer.num_processes={cfg.trainer.num_processes}: {hosts} machines cannot share "
            f"them evenly; make it a multiple of {hosts}, or null for what the GPUs allow"
        )
    if cfg.trainer.batch_size % hosts:
        raise UserError(
            f"trainer.batch_size={cfg.trainer.batch_size}: {hosts} machines cannot share it "
            f"evenly; make it a multiple of {hosts}"
        )
    return batch.processes(cfg, torch.cuda.device_count(), hosts)


def needs_launch(cfg: DictConfig, count: int) -> bool:
    """What shards a model needs torchrun's environment for a single process too."""
    shards = cfg.trainer.distributed.is_deepspeed or cfg.trainer.distributed is Distributed.fsdp2
    return not ranks.is_rank() and (count > 1 or shards)


def launch(cfg: DictConfig, run_dir: Path, count: int) -> int:
    """Run `rlvr.worker` on `run_dir/config.yaml` in this machine's share of `count` processes; the
    exit code. A signal that ends this process is passed on, once, and the ranks, which save what
    they have done, are waited for. However this process ends, they end with it.
    """
    here = count // len(ranks.hosts())
    command = [sys.executable, "-m", "rlvr.training.torchrun", *_meeting(), "--nproc-per-node"]
    command += [str(here), "--signals-to-handle", SIGNALS, "-m", "rlvr.worker", str(run_dir)]
    threads = max(1, (os.cpu_count() or 1) // here)
    env = {"OMP_NUM_THREADS": str(threads), **os.environ, **_strategy(cfg, run_dir)}
    env[PARENT] = str(os.getpid())
    env.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "300")  # seconds that ranks have to save
    await_place(run_dir)
    # In a group of its own: a terminal's Ctrl-C comes to this process only.
    torchrun = subprocess.Popen(command, env=env, process_group=0)
    try:
        return torchrun.wait()
    except BaseException:
        torchrun.send_signal(signal.SIGTERM)
        torchrun.wait()
        raise


def _meeting() -> list[str]:
    hosts = ranks.hosts()
    if len(hosts) == 1:
        return ["--standalone"]
    return [
        *("--nnodes", str(len(hosts)), "--node-rank", str(ranks.host())),
        *("--master-addr", hosts[0], "--master-port", str(PORT)),
    ]


def _strategy(cfg: DictConfig, run_dir: Path) -> dict[str, str]:
    """As accelerate reads it. GRPOConfig's own `deepspeed` argument cannot choose gloo."""
    chosen = cfg.trainer.distributed
    if chosen in ZERO:
        file = run_dir / "deepspeed.json"
        settings = {"zero_optimization": ZERO[chosen], **DEEPSPEED}
        file.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        return {
            "ACCELERATE_USE_DEEPSPEED": "true",
            "ACCELERATE_DEEPSPEED_CONFIG_FILE": str(file),
        }
    if chosen is Distributed.fsdp2:
        return FSDP2
    return {} if torch.cuda.is_available() else {"ACCELERATE_USE_CPU": "true"}


if __name__ == "__main__":  # torchrun itself, but that it ends with whoever has started it
    from torch.distributed.run import main

    end_with_parent()
    main()
