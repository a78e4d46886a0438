"""A model is known by what it holds: a changed byte, adapter or precision is another model."""

import shutil

import pytest

from rlvr.evaluation.identity import model_identity, question_id


@pytest.fixture
def cfg(compose_config, saved_model):
    def composed(*overrides):
        return compose_config("~launcher", f"model.path={saved_model}", *overrides)

    return composed


@pytest.fixture
def trained(saved_model, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(b"one")
    (folder / "README.md").write_text("made today")
    return folder


def test_a_copy_is_the_same_model(cfg, saved_model, tmp_path):
    shutil.copytree(saved_model, tmp_path / "copy")
    here = model_identity(cfg("peft=none"), None, "cpu")
    assert here == model_identity(cfg("peft=none", f"model.path={tmp_path}/copy"), None, "cpu")
    with (tmp_path / "copy/model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    assert here != model_identity(cfg("peft=none", f"model.path={tmp_path}/copy"), None, "cpu")


def test_what_changes_the_base_model_changes_its_identity(cfg):
    identities = [
        model_identity(cfg("peft=none"), None, "cpu"),
        model_identity(cfg("peft=none"), None, "cuda"),
        model_identity(cfg("peft=qlora"), None, "cpu"),
        model_identity(cfg("peft=none", "model.dtype=bfloat16"), None, "cpu"),
        model_identity(cfg("peft=none", "model.path=package:tiny"), None, "cpu"),
        model_identity(cfg("peft=none", "model.path=some/hub-model"), None, "cpu"),
    ]
    assert all(identities.count(one) == 1 for one in identities)


def test_what_is_trained_does_not_touch_the_base(cfg):
    base = model_identity(cfg("peft=none"), None, "cpu")
    changed = ["trainer.learning_rate=1", "seed=7", "shots=1", "rewards=random", "peft=lora"]
    assert model_identity(cfg(*changed), None, "cpu") == base


def test_trained_weights_are_known_by_their_content(cfg, trained):
    """Rows of an earlier attempt, whose weights were others, are never taken for these."""
    lora = cfg("peft=lora")
    first = model_identity(lora, trained, "cpu")
    (trained / "README.md").write_text("made tomorrow")
    assert model_identity(lora, trained, "cpu") == first
    (trained / "adapter_model.safetensors").write_bytes(b"two")
    assert model_identity(lora, trained, "cpu") != first
    assert model_identity(lora, None, "cpu") != first
    assert "base" in first
    assert "base" not in model_identity(cfg("peft=none"), trained, "cpu")


def test_a_question_is_the_same_whatever_is_shown_before_it():
    asked = {"question": "1+1?", "gold": "2", "prompt": "a", "index": 1}
    assert question_id(asked) == question_id({**asked, "prompt": "b", "index": 2})
    assert question_id(asked) != question_id({**asked, "gold": "3"})
