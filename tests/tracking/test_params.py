import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from rlvr.tracking import params
from rlvr.tracking.params import typed, without_folder

CONFIG = {
    "shots": 4,
    "seed": 42,
    "output_dir": "/home/someone/outputs",
    "model": {"path": "/home/someone/models/Qwen2.5-0.5B/", "revision": None},
    "dataset": {
        "name": "jsonl",
        "path": "~/data/questions.jsonl",
        "num_shots": "${shots}",
        "verifier": "???",
    },
    "trainer": {"learning_rate": 1e-4, "loss_type": "dapo", "beta": 0.0, "extra": {"top_k": 5}},
    "eval": {"benchmarks": {}},
    "tracking": {"uri": "sqlite:////home/someone/mlflow.db"},
    "launcher": {"n_jobs": 2},
    "hydra": {"run": {"dir": "/home/someone/run"}},
}
OVERRIDES = ["model=tiny", "trainer.beta=0.0", "launcher.n_jobs=2", "hydra/x=y", "tracking=mlflow"]


def test_every_setting_of_the_run_is_a_param():
    found = params(OmegaConf.create(CONFIG), OVERRIDES)
    assert found == {
        "model": "tiny",
        "shots": 4,
        "seed": 42,
        "model.path": "Qwen2.5-0.5B",
        "model.revision": None,
        "dataset.name": "jsonl",
        "dataset.path": "questions.jsonl",
        "trainer.learning_rate": 1e-4,
        "trainer.loss_type": "dapo",
        "trainer.beta": 0.0,
        "trainer.extra.top_k": 5,
    }


def test_a_setting_that_follows_another_is_there_once_it_does_not():
    config = OmegaConf.create({"shots": 4, "dataset": {"num_shots": 2}})
    assert params(config, []) == {"shots": 4, "dataset.num_shots": 2}


def test_no_param_says_who_ran_it_where():
    assert "someone" not in json.dumps(params(OmegaConf.create(CONFIG), OVERRIDES))


def test_the_reference_recipe_has_the_settings_that_people_ask_for(compose_config):
    found = params(compose_config("tracking=none"), [])
    asked = "num_generations batch_size temperature max_steps beta bf16".split()
    assert {f"trainer.{key}" for key in asked} <= set(found)
    assert found["peft.method"] == "qlora"
    assert found["rewards.correctness.weight"] == 1.0


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("/data/x.jsonl", "x.jsonl"),
        ("file:///data/x/", "x"),
        (["/a/b", "c/d"], ["b", "c/d"]),
        ("Qwen/Qwen2.5-0.5B", "Qwen/Qwen2.5-0.5B"),
        ("package:tiny", "package:tiny"),
        (0.5, 0.5),
    ],
)
def test_folders_of_a_machine_are_left_out(value, shown):
    assert without_folder(value) == shown


@given(st.lists(st.from_regex(r"[a-z]{1,8}", fullmatch=True), min_size=2))
def test_no_absolute_path_is_left(parts: list[str]):
    assert not Path(without_folder("/" + "/".join(parts))).is_absolute()


def test_numbers_stay_numbers_and_secrets_are_hidden():
    given = {"a": 1, "b": {"c": 0.5, "d": True}, "e": None, "f": [1], "api_key": "x", "g": "text"}
    assert typed(given) == {
        **{"a": 1, "b.c": 0.5, "b.d": True, "e": "null", "f": "[1]", "g": "text"},
        "api_key": "<hidden>",
    }
