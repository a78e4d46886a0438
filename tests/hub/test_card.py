import json
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from rlvr import result
from rlvr.hub.card import base_name, forget_machine, write_card


@pytest.fixture
def model(cfg, run_dir: Path) -> Path:
    forget_machine(run_dir / "model", cfg.model.path)
    write_card(cfg, run_dir / "model", result.read(run_dir))
    return run_dir / "model"


def test_no_file_names_a_folder_of_this_machine(model, tmp_path: Path):
    for file in model.iterdir():
        assert str(tmp_path).encode() not in file.read_bytes(), file.name
    adapter = json.loads((model / "adapter_config.json").read_text())
    assert adapter == {"base_model_name_or_path": "Qwen-local", "r": 16}


def test_the_card_has_scores_with_their_intervals_and_how_to_repeat_it(model):
    text = (model / "README.md").read_text()
    assert "| held-out questions | base | 25.0 | 20.0 to 31.0 | 200 |" in text
    assert "| held-out questions | trained | 75.0 | 68.0 to 81.0 | 200 |" in text
    assert "| svamp | trained | 50.0 |" in text
    assert "Gain: +50.0 points; 103 questions won and 3 lost, p < 0.001" in text
    assert "| train | 900 | `abc123` |" in text
    assert "python train.py model.path=Qwen-local shots=8\n" in text
    assert "Commit `c0ffee`. Versions: trl 1.16.0." in text
    assert "LoRA adapter for `Qwen-local`" in text


def test_the_hub_reads_the_scores(model):
    data = ModelCard.load(model / "README.md").data
    assert [(e.dataset_name, e.metric_value) for e in data.eval_results] == [
        ("gsm8k", 0.75),
        ("svamp", 0.5),
    ]
    assert "0.6800 to 0.8100, n = 200" in data.eval_results[0].metric_name
    assert data.library_name == "peft"
    assert data.base_model is None, "a folder is no model on the hub"


def test_a_base_on_the_hub_keeps_its_name(compose_config, run_dir):
    cfg = compose_config("tracking=none")
    assert base_name(cfg.model.path) == cfg.model.path == "Qwen/Qwen2.5-0.5B"
    assert base_name("package:tiny") == "tiny"
    forget_machine(run_dir / "model", cfg.model.path)
    write_card(cfg, run_dir / "model", result.read(run_dir))
    assert ModelCard.load(run_dir / "model" / "README.md").data.base_model == cfg.model.path
    adapter = json.loads((run_dir / "model" / "adapter_config.json").read_text())
    assert adapter["base_model_name_or_path"] == cfg.model.path


def test_a_run_without_evaluation_has_a_card_too(cfg, run_dir):
    write_card(cfg, run_dir / "model", result.Result())
    text = (run_dir / "model" / "README.md").read_text()
    assert "was not evaluated" in text
    assert "model-index" not in text
