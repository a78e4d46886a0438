import pytest

from rlvr import config


@pytest.mark.parametrize("name", ["none", "interval", "asha", "optuna"])
def test_each_pruner_is_valid(compose_config, name):
    cfg = compose_config(f"pruner={name}", "experiment=quickstart")
    assert config.problems(cfg) == []
    assert cfg.pruner.name.value == name


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("pruner.looks=[0.5,0.1]", "pruner.looks=[0.5, 0.1]: must be rising shares"),
        ("pruner.looks=[0,0.5]", "above 0 and below 1"),
        ("pruner.looks=[0.5,1]", "above 0 and below 1"),
        ("pruner.looks=[]", "must be rising shares"),
        ("pruner.questions=0", "pruner.questions=0: must be at least 1"),
        ("pruner.reduction=1", "pruner.reduction=1: must be at least 2"),
        ("launcher=sagemaker", "launcher=sagemaker cannot tell a running job"),
        ("eval.split=validation", "compares the runs on the same: use eval.split=test"),
    ],
)
def test_what_is_refused(compose_config, override, said):
    cfg = compose_config("experiment=quickstart", "pruner=asha", override)
    assert any(said in problem for problem in config.problems(cfg))
    cfg = compose_config("experiment=quickstart", override)
    assert not any(said in problem for problem in config.problems(cfg)), "no pruner, no problem"
