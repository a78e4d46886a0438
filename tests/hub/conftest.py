"""A finished run of an adapter, as training leaves it: trained on a model in a local folder."""

import json
from pathlib import Path

import pytest

from rlvr.config import to_yaml
from rlvr.result import Result
from rlvr.states import State

SCORE = {"accuracy": 0.75, "low": 0.68, "high": 0.81, "n": 200}


@pytest.fixture
def cfg(compose_config, tmp_path: Path):
    (tmp_path / "models" / "Qwen-local").mkdir(parents=True)
    path = tmp_path / "models" / "Qwen-local"
    return compose_config(f"model.path={path}", "tracking=none", f"output_dir={tmp_path}")


@pytest.fixture
def run_dir(cfg, tmp_path: Path) -> Path:
    import torch

    folder = tmp_path / "run"
    model = folder / "model"
    model.mkdir(parents=True)
    (folder / "config.yaml").write_text(to_yaml(cfg))
    torch.save({"output_dir": str(tmp_path)}, model / "training_args.bin")
    (model / "adapter_model.safetensors").write_bytes(b"weights")
    adapter = {"base_model_name_or_path": cfg.model.path, "r": 16}
    (model / "adapter_config.json").write_text(json.dumps(adapter))
    (model / "README.md").write_text(f"base_model: {cfg.model.path}")
    Result(
        status=State.finished,
        base={**SCORE, "accuracy": 0.25, "low": 0.2, "high": 0.31},
        trained=SCORE,
        paired={"n": 200, "base_only": 3, "trained_only": 103, "p_value": 1e-20},
        benchmarks={"svamp": {"trained": {**SCORE, "accuracy": 0.5}}},
        overrides=[f"model.path={cfg.model.path}", "shots=8", f"output_dir={tmp_path}"],
        datasets={"train": {"n": 900, "digest": "abc123"}},
        versions={"trl": "1.16.0"},
        git={"commit": "c0ffee", "dirty": False, "diff_sha256": None},
    ).write(folder)
    return folder
