from omegaconf import OmegaConf

from rlvr.compare.names import model_name, named, short_names, shown, without_shared_start

CONFIG = OmegaConf.create(
    {"shots": 2, "trainer": {"learning_rate": 3e-4, "betas": [0.9, 0.99]}, "model": {"path": "x"}}
)


def test_overrides_as_the_table_shows_them():
    typed = {"shots": "2", "trainer.learning_rate": "0.0003", "model": "tiny", "+new": "1"}
    assert named(typed, CONFIG) == "shots=2 lr=3e-4 model=tiny +new=1"
    assert named({"trainer.betas": "[0.9,0.99]"}, CONFIG) == "betas=[0.9, 0.99]"
    assert named({}, CONFIG) == ""


def test_last_parts_as_far_as_they_are_unique():
    assert short_names(["trainer.learning_rate", "shots"]) == {
        "trainer.learning_rate": "lr",
        "shots": "shots",
    }
    assert len(set(short_names(["model.path", "dataset.path"]).values())) == 2


def test_long_texts_that_begin_alike():
    assert without_shared_start(["org/model-v0.1", "org/model-v0.2"]) == ["…v0.1", "…v0.2"]
    assert without_shared_start(["a1", "a2"]) == ["a1", "a2"]
    assert without_shared_start(["org/model-v0.1"] * 2) == ["org/model-v0.1"] * 2


def test_models_by_their_own_name():
    assert model_name("/models/Qwen2.5-0.5B/") == "Qwen2.5-0.5B"
    assert model_name("package:tiny") == "tiny"
    assert [shown(v) for v in (None, True, 1e-5, "x")] == ["null", "true", "1e-5", "x"]
