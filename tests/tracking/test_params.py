from omegaconf import OmegaConf

from rlvr.tracking import params

CONFIG = OmegaConf.create(
    {
        "shots": 4,
        "seed": 42,
        "model": {"path": "package:tiny"},
        "dataset": {"name": "word_problems"},
        "peft": {"method": "none"},
        "trainer": {"learning_rate": 1e-4, "loss_type": "dapo", "beta": 0.0, "extra": {"top_k": 5}},
    }
)


def test_params_are_what_the_user_set_and_what_everyone_asks_for():
    overrides = ["model=tiny", "trainer.beta=0.0", "+trainer.extra.top_k=5", "launcher.n_jobs=2"]
    found = params(CONFIG, [*overrides, "hydra.verbose=true", "tracking.uri=null", "hydra/x=y"])
    assert found["model"] == "tiny"
    assert found["trainer.beta"] == 0.0
    assert found["trainer.extra.top_k"] == 5
    assert found["shots"] == 4
    assert found["trainer.learning_rate"] == 1e-4
    assert not any(key.startswith(("launcher", "hydra", "tracking")) for key in found)
