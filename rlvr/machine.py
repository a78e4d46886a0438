"""What a process of a run may use: GPUs and the memory of one, or the memory of the machine."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

GIB = 2**30
# Of the memory: CUDA, Python and other programs need some, too; in the heap of a process without a
# GPU freed tensors leave holes.
USABLE, USABLE_HEAP = 0.9, 0.6
CGROUP = Path("/sys/fs/cgroup/memory.max")  # of a container
# SageMaker's GPU instances by family: GiB of one GPU; and the sizes with several.
GPU_MEMORY = {"g4dn": 16, "g5": 24, "g6": 24, "g6e": 48, "p4d": 40, "p4de": 80, "p5": 80}
SEVERAL = {"12xlarge": 4, "24xlarge": 4, "48xlarge": 8}
EIGHT = ("p4d", "p4de", "p5")


@dataclass(frozen=True)
class Machine:
    """`memory`: bytes for a process, None where they are not known."""

    name: str
    gpus: int
    memory: float | None

    def holds(self, needed: float) -> bool:
        usable = USABLE if self.gpus else USABLE_HEAP
        return self.memory is None or needed <= usable * self.memory


def here(cfg: DictConfig) -> Machine:
    """This machine; without GPUs its memory is divided among the runs that go on at a time."""
    gpus = 0
    if shutil.which("nvidia-smi") or "torch" in sys.modules:
        import torch

        gpus = torch.cuda.device_count()
    if gpus:
        memory = min(torch.cuda.get_device_properties(i).total_memory for i in range(gpus))
        return Machine("this machine's GPU", gpus, memory)
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if CGROUP.is_file() and (limit := CGROUP.read_text(encoding="utf-8").strip()).isdigit():
        total = min(total, int(limit))
    return Machine("this machine", 0, total / (cfg.launcher.get("n_jobs") or 1))


def planned_for(cfg: DictConfig) -> Machine:
    """The machine that the configuration's launcher will use, as far as it is known."""
    name = cfg.launcher.get("name", "local")
    if name == "local":
        return here(cfg)
    if name == "sagemaker":
        from rlvr.launchers.sagemaker.instances import instance_for

        chosen = str(cfg.launcher.instance_type)
        return instance(instance_for(cfg.trainer) if chosen == "auto" else chosen)
    return Machine(f"a node of {name}", 1, None)


def instance(kind: str) -> Machine:
    """`ml.g6.12xlarge`: four GPUs of 24 GiB. One without GPUs has memory that is not known here."""
    _, family, size = kind.split(".")
    if family not in GPU_MEMORY:
        return Machine(kind, 0, None)
    gpus = 8 if family in EIGHT else SEVERAL.get(size, 1)
    return Machine(kind, gpus, GPU_MEMORY[family] * GIB)


def visible_gpus() -> list[str]:
    """Ids as CUDA_VISIBLE_DEVICES takes them. Asks the driver: importing torch takes seconds."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [gpu.strip() for gpu in chosen.split(",") if gpu.strip() not in ("", "-1")]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    lines = [line for line in listed.stdout.splitlines() if line.startswith("GPU ")]
    return [str(number) for number in range(len(lines))]
