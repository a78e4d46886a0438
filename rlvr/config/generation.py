"""Checks of `trainer.generation`: what vLLM cannot do, before it or a model is loaded."""

import json
import os
import re
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rlvr.config.schema import Distributed, Generation, Loss
from rlvr.model_files import model_files
from rlvr.sampling.vllm.settings import (
    LONGEST,
    ONLY_GREEDY_ON_CPU,
    RANKS,
    TOKEN,
    unusable,
)

INSTEAD = (
    "TRL's own generation passes by the stop rule: set trainer.generation=vllm_colocate or "
    "vllm_server, and trainer.vllm for its settings"
)
# The correction for what engine and trainer compute differently is TRL's.
CORRECTION = "vllm_importance_sampling_"
HOTTEST = 2.0
COLOCATE_SHARE, SERVER_SHARE = 0.3, 0.9  # of a GPU that also trains, and of one that does not
GUESSES = 4  # next tokens that are looked up at a time
MOST = 0.5  # of a GPU's memory that all engines on it may have: the rest is for what trains


def is_ours(name: str) -> bool:
    """Whether a field of GRPOConfig belongs to TRL's own way of generating."""
    own = name.startswith("vllm_") and not name.startswith(CORRECTION)
    return own or name in ("use_vllm", "use_transformers_continuous_batching")


def problems(cfg: DictConfig) -> Iterator[str]:
    chosen = cfg.trainer.generation
    yield from _server(cfg)
    if chosen is Generation.shared and not cfg.trainer.prefix_cache:
        yield "trainer.prefix_cache=false: trainer.generation=shared is that cache; use auto"
    if not chosen.is_vllm:
        return
    key = f"trainer.generation={chosen.value}"
    if cfg.launcher.get("name", "local") == "local" and (reason := missing(cfg)):
        yield f"{key}: {reason}, or use trainer.generation=auto"
    if cfg.launcher.get("name") == "sagemaker":
        yield f"{key}: jobs on SageMaker install no vLLM; use trainer.generation=auto"
    yield from (f"{key}: {reason}" for reason in reasons_against(cfg))
    yield from _shared_gpu(cfg)


def missing(cfg: DictConfig) -> str | None:
    """Why there is no vLLM for this run; one on another machine is asked when the run begins."""
    return None if cfg.trainer.vllm.server else unusable()


def _server(cfg: DictConfig) -> Iterator[str]:
    """Of `rlvr serve`, which is for this run alone while it goes on."""
    if (address := cfg.trainer.vllm.server) is None:
        return
    key = f"trainer.vllm.server={address}"
    if not re.fullmatch(r"[^:/\s]+:[0-9]{1,5}", address):
        yield f"{key}: must be HOST:PORT, such as 127.0.0.1:8700 at this end of a tunnel"
    if cfg.trainer.generation is not Generation.vllm_server:
        yield f"{key}: is asked by trainer.generation=vllm_server alone"
    if cfg.launcher.get("name", "local") == "local" and not os.environ.get(TOKEN):
        yield f"{key}: set {TOKEN} in the environment, to the secret that rlvr serve has there"
    if (cfg.launcher.get("n_jobs") or 1) > 1:
        yield f"{key}: one run at a time has it; set launcher.n_jobs=1"


def reasons_against(cfg: DictConfig) -> Iterator[str]:
    """Why vLLM cannot sample for this run, wherever it runs; `auto` leaves it out then."""
    trainer, peft = cfg.trainer, cfg.peft
    if peft.modules_to_save:
        yield "vLLM loads no whole modules beside an adapter; leave out peft.modules_to_save"
    if peft.method != "none" and peft.r > RANKS[-1]:
        yield f"vLLM has room for adapters of rank {RANKS[-1]}; lower peft.r={peft.r}"
    if (trainer.num_processes or 1) > 1 or trainer.distributed not in (
        Distributed.auto,
        Distributed.none,
    ):
        yield (
            "vLLM takes the weights of one process; set trainer.num_processes=1 and "
            "trainer.distributed=auto"
        )
    for key in ("trainer.temperature", "eval.temperature"):
        if OmegaConf.select(cfg, key) > HOTTEST:
            yield f"vLLM samples at temperatures up to {HOTTEST:g}; lower {key}"
    if trainer.vllm.speculation and trainer.extra.get("min_p"):
        yield "vLLM's speculation knows no min_p; leave out trainer.vllm.speculation"
    if trainer.vllm.speculation and not trainer.vllm.server and is_cpu(cfg):
        yield f"{ONLY_GREEDY_ON_CPU}; leave out trainer.vllm.speculation"
    mode = trainer.extra.get("vllm_importance_sampling_mode", "sequence_mask")
    if trainer.loss_type is Loss.vespo and not str(mode).startswith("token_"):
        yield (
            "trainer.loss_type=vespo corrects vLLM's rounding token by token; add "
            "+trainer.extra.vllm_importance_sampling_mode=token_truncate"
        )
    yield from _length(cfg)


def is_cpu(cfg: DictConfig) -> bool:
    from rlvr.machine import visible_gpus

    return cfg.launcher.get("name", "local") == "local" and not visible_gpus()


def _length(cfg: DictConfig) -> Iterator[str]:
    length, limit = cfg.trainer.vllm.max_model_len, _positions(cfg)
    if length is not None and limit is not None and length > limit:
        yield f"trainer.vllm.max_model_len={length}: {cfg.model.path} has {limit} positions"
    room = max_model_len(cfg)
    for key in ("trainer.max_completion_length", "eval.max_completion_length"):
        group, name = key.split(".")
        if cfg[group][name] >= room:
            yield (
                f"{key}={cfg[group][name]} leaves no room for a prompt in the {room} tokens of "
                "trainer.vllm.max_model_len"
            )


def max_model_len(cfg: DictConfig) -> int:
    """Tokens of a prompt and its completion."""
    return int(cfg.trainer.vllm.max_model_len or min(LONGEST, _positions(cfg) or LONGEST))


def _positions(cfg: DictConfig) -> int | None:
    """The model's own limit; None where its files are not on this machine or say none."""
    folder = model_files(cfg.model.path, cfg.model.revision)
    if folder is None or not (folder / "config.json").is_file():
        return None
    described: dict[str, Any] = json.loads((folder / "config.json").read_text("utf-8"))
    found = {**described, **described.get("text_config", {})}.get("max_position_embeddings")
    return None if found is None else int(found)


def memory_share(cfg: DictConfig, gpus: int) -> float:
    """Of the memory of the GPU that vLLM is on, which trains too unless a server has its own."""
    usual = SERVER_SHARE if is_elsewhere(cfg, gpus) else COLOCATE_SHARE
    return float(cfg.trainer.vllm.memory_share or usual)


def is_elsewhere(cfg: DictConfig, gpus: int) -> bool:
    """Whether vLLM takes nothing of the GPU, or on a machine without one of the memory, we have."""
    own_server = cfg.trainer.generation is Generation.vllm_server and gpus > 1
    return own_server or cfg.trainer.vllm.server is not None


def may_take_vllm(cfg: DictConfig) -> bool:
    """Whether it samples, or `auto` has one to try."""
    chosen = cfg.trainer.generation
    if chosen is not Generation.auto or cfg.launcher.get("name", "local") != "local":
        return bool(chosen.is_vllm)
    return not (missing(cfg) or any(reasons_against(cfg)))


def _shared_gpu(cfg: DictConfig) -> Iterator[str]:
    """Of jobs that the local launcher starts at the same time."""
    from rlvr.machine import visible_gpus

    if cfg.trainer.vllm.server is not None:
        return
    jobs, per_job = (cfg.launcher.get(key) or 1 for key in ("n_jobs", "gpus_per_job"))
    if cfg.launcher.get("name", "local") != "local" or jobs == 1 or not (gpus := visible_gpus()):
        return
    groups = max(1, len(gpus) // per_job)
    together, share = -(-jobs // groups), memory_share(cfg, per_job)
    if together > 1 and together * share > MOST:
        yield (
            f"launcher.n_jobs={jobs}: {together} jobs share a GPU, and each vLLM takes {share:g} "
            f"of its memory; set launcher.n_jobs={groups}, or trainer.vllm.memory_share="
            f"{int(100 * MOST / together) / 100:g}"
        )
