"""What made an answer: whatever is reused is looked up by this, never by its place in a list."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rlvr.config.schema import Dtype, PeftMethod
from rlvr.digests import digest, digest_files
from rlvr.model_files import model_files

WEIGHTS = ("*.safetensors", "*.bin")
# A base model is its weights, its shape and its tokenizer.
MODEL_FILES = (*WEIGHTS, "config.json", "generation_config.json", "tokenizer*", "*.jinja")


def model_identity(cfg: DictConfig, trained: Path | None, device: str) -> dict[str, Any]:
    """The weights that answer, and how they are held: what a base or trained model is known by.

    `trained` is where a run has saved its model: an adapter, or all weights.
    """
    identity = {
        "dtype": str(cfg.model.dtype.value),
        "attention": str(cfg.model.attn_implementation.value),
        "device": device,
    }
    half = cfg.model.dtype is not Dtype.float32 and (
        cfg.model.dtype is not Dtype.auto or device != "cpu"
    )
    if half and cfg.peft.method is PeftMethod.none:
        identity["weights"] = "float32"
    if cfg.peft.method is PeftMethod.qlora:
        identity["quantised"] = f"{cfg.peft.quant_type}, double {cfg.peft.double_quant}"
    if trained is not None:
        identity["trained"] = digest_files(trained, WEIGHTS)
    if trained is None or cfg.peft.method is not PeftMethod.none:
        identity["base"] = _base_identity(cfg)
    if trained is not None and cfg.peft.method is not PeftMethod.none:
        identity["adapter"] = digest(OmegaConf.to_container(cfg.peft))
    return identity


def _base_identity(cfg: DictConfig) -> str:
    """A hub model by its commit, which names its content; any other by its files."""
    path = cfg.model.path
    folder = model_files(path, cfg.model.revision)
    if folder is None:
        return f"{path}@{cfg.model.revision}"
    if folder.parent.name == "snapshots":  # as the hub's cache names its folders
        return f"{path}@{folder.name}"
    return digest_files(folder, MODEL_FILES)


def question_id(question: Mapping[str, Any]) -> str:
    """The same question in any run, whatever is shown before it."""
    return digest([question["question"], question["gold"]])
