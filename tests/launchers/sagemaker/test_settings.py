import pytest
from omegaconf import OmegaConf

from rlvr.errors import UserError
from rlvr.launchers.sagemaker.settings import KEYS, Settings, spot_problem

ROLE = "arn:aws:iam::123456789012:role/x"


def problems(**node):
    with pytest.raises(UserError) as caught:
        Settings.read({"role": ROLE, **node})
    return str(caught.value)


def test_the_yaml_has_every_setting_and_no_other(monkeypatch):
    monkeypatch.setenv("RLVR_SAGEMAKER_ROLE", ROLE)
    node = OmegaConf.load("conf/launcher/sagemaker.yaml").launcher
    assert set(node) == KEYS
    read = Settings.read(OmegaConf.to_container(node, resolve=True))
    assert read.role == ROLE
    assert read.max_runtime == 18_000


def test_all_problems_come_at_once():
    text = problems(n_jobs=0, poll_seconds="often", instance_tpye="x")
    assert "launcher.instance_tpye is not a setting" in text
    assert "launcher.poll_seconds=often: must be float" in text
    text = problems(n_jobs=0, warm_pool=90_000, on_interrupt="panic", subnets=["s"])
    for key in ("n_jobs=0", "warm_pool=90000", "on_interrupt=panic", "security_groups"):
        assert f"launcher.{key}" in text


def test_role_is_needed(monkeypatch):
    monkeypatch.delenv("RLVR_SAGEMAKER_ROLE", raising=False)
    with pytest.raises(UserError, match="RLVR_SAGEMAKER_ROLE"):
        Settings.read({})


def test_spot_waits_at_least_as_long_as_it_may_run():
    assert Settings.read({"role": ROLE, "spot": True}).wait_limit == 36_000
    assert "max_wait=10: must be at least max_runtime" in problems(spot=True, max_wait=10)


def test_spot_needs_checkpoints():
    spot = Settings.read({"role": ROLE, "spot": True})
    assert "trainer.save_minutes" in spot_problem(spot, {"trainer": {"save_steps": None}})
    assert spot_problem(spot, {"trainer": {"save_steps": 5}}) is None
    assert spot_problem(spot, {"trainer": {"save_minutes": 10.0}}) is None
    on_demand = Settings.read({"role": ROLE})
    assert spot_problem(on_demand, {"trainer": {"save_steps": None}}) is None


@pytest.mark.parametrize(
    ("key", "value", "secret"),
    [
        ("HF_TOKEN", "x", True),
        ("MLFLOW_TRACKING_PASSWORD", "x", True),
        ("NOTE", "hf_" + "a" * 30, True),
        ("TOKENIZERS_PARALLELISM", "false", False),
        ("NCCL_DEBUG", "WARN", False),
    ],
)
def test_secrets_are_refused(key, value, secret):
    node = {"role": ROLE, "environment": {key: value}}
    if secret:
        assert "Secrets Manager" in problems(**node)
    else:
        assert Settings.read(node).environment == {key: value}


def test_numbers_in_the_environment_become_text():
    node = {"role": ROLE, "environment": {"OMP_NUM_THREADS": 4}}
    assert Settings.read(node).environment == {"OMP_NUM_THREADS": "4"}


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("n_jobs", True, "int"),
        ("n_jobs", None, "int"),
        ("max_runtime", 1.5, "int"),
        ("spot", "maybe", "bool"),
        ("exclude", "*.ipynb", "list"),
        ("environment", ["A=1"], "dict"),
        ("max_wait", "long", "int or null"),
    ],
)
def test_types_are_checked(key, value, expected):
    assert f"launcher.{key}={value}: must be {expected}" in problems(**{key: value})
