from dataclasses import fields

import pytest
from omegaconf import OmegaConf

from rlvr.errors import UserError
from rlvr.launchers.sagemaker.settings import (
    OF_THE_SWEEP,
    SageMakerSettings,
    refuse_swept,
    spot_problem,
)

ROLE = "arn:aws:iam::123456789012:role/x"


def read(**node):
    return SageMakerSettings.read({"role": ROLE, **node}, "sagemaker")


def problems(**node):
    with pytest.raises(UserError) as caught:
        read(**node)
    return str(caught.value)


def test_the_yaml_has_every_setting_and_no_other(monkeypatch):
    monkeypatch.setenv("RLVR_SAGEMAKER_ROLE", ROLE)
    node = OmegaConf.load("conf/launcher/sagemaker.yaml").launcher
    assert set(node) == {f.name for f in fields(SageMakerSettings)}
    found = SageMakerSettings.read(OmegaConf.to_container(node, resolve=True), "sagemaker")
    assert found.role == ROLE
    assert found.max_runtime == 18_000
    differing = [name for name in node if getattr(found, name) != getattr(read(), name)]
    assert differing == ["name", "multi_node_environment"], "the defaults stand twice"


def test_all_problems_come_at_once():
    text = problems(n_jobs=0, poll_seconds="often", instance_tpye="x")
    assert "launcher.instance_tpye is not a setting" in text
    assert "launcher.poll_seconds=often: must be a number" in text
    text = problems(n_jobs=0, warm_pool=90_000, on_interrupt="panic", subnets=["s"])
    for key in ("n_jobs=0", "warm_pool=90000", "on_interrupt=panic", "security_groups"):
        assert f"launcher.{key}" in text


def test_role_is_needed(monkeypatch):
    monkeypatch.delenv("RLVR_SAGEMAKER_ROLE", raising=False)
    with pytest.raises(UserError, match="RLVR_SAGEMAKER_ROLE"):
        SageMakerSettings.read({}, "sagemaker")
    assert "launcher.role=name: expected the role's ARN" in problems(role="name")


def test_spot_waits_at_least_as_long_as_it_may_run():
    assert read(spot=True).wait_limit == 36_000
    assert "max_wait=10: must be at least max_runtime" in problems(spot=True, max_wait=10)


def test_spot_needs_checkpoints():
    spot = read(spot=True)
    assert "trainer.save_minutes" in spot_problem(spot, {"trainer": {"save_steps": None}})
    assert spot_problem(spot, {"trainer": {"save_steps": 5}}) is None
    assert spot_problem(spot, {"trainer": {"save_minutes": 10.0}}) is None
    on_demand = read()
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
    node = {"environment": {key: value}}
    if secret:
        assert "Secrets Manager" in problems(**node)
    else:
        assert read(**node).environment == {key: value}


def test_numbers_in_the_environment_become_text():
    assert read(environment={"OMP_NUM_THREADS": 4}).environment == {"OMP_NUM_THREADS": "4"}


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("n_jobs", True, "a whole number"),
        ("n_jobs", None, "a whole number"),
        ("max_runtime", 1.5, "a whole number"),
        ("spot", "maybe", "true or false"),
        ("exclude", "*.ipynb", "a list"),
        ("environment", ["A=1"], "a mapping"),
        ("max_wait", "long", "a whole number or null"),
    ],
)
def test_types_are_checked(key, value, expected):
    assert f"launcher.{key}={value}: must be {expected}" in problems(**{key: value})


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"bucket": "mine"}, "launcher.bucket='mine-{region}'"),
        ({"bucket": "{account}-{region}"}, "{region} is all that can be filled in"),
        ({"bucket": None, "kms_key": "alias/x"}, "launcher.kms_key is of one region"),
        (
            {"bucket": None, "subnets": ["s"], "security_groups": ["g"]},
            "launcher.subnets is of one region",
        ),
    ],
)
def test_what_is_of_one_region_cannot_be_used_in_several(settings, problem):
    assert problem in problems(regions=["eu-west-1"], **settings)
    if "{account}" not in str(settings):
        read(**settings)


def test_several_regions_have_a_bucket_each():
    assert read(regions=["eu-west-1"], bucket="mine-{region}").regions == ["eu-west-1"]
    assert read(regions=["eu-west-1"], bucket=None).bucket is None, "SageMaker's own"


def test_on_demand_is_what_spot_falls_back_to():
    assert "set launcher.spot=true" in problems(on_demand_fallback=True)
    assert read(spot=True, on_demand_fallback=True).on_demand_fallback


def test_a_price_table_that_is_not_there(tmp_path):
    assert "prices=none.yaml: no such file" in problems(prices="none.yaml")
    (tmp_path / "mine.yaml").touch()
    assert read(prices=str(tmp_path / "mine.yaml")).prices


@pytest.mark.parametrize("key", OF_THE_SWEEP)
def test_what_holds_for_a_sweep_cannot_be_swept(key):
    one, other = read(), read()
    refuse_swept([one, other])
    setattr(other, key, "another")
    with pytest.raises(UserError, match=rf"launcher\.{key} holds for a whole sweep and cannot"):
        refuse_swept([one, other])
