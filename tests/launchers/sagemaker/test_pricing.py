import pytest

from rlvr.errors import UserError
from rlvr.launchers.sagemaker.pricing import cost, describe, prices
from rlvr.launchers.sagemaker.training_job import AUTO


def test_cost_is_price_times_instances_times_hours():
    hour = prices()["ml.g6.xlarge"]
    assert cost("ml.g6.xlarge", 2, 1800) == pytest.approx(hour, abs=1e-4)
    assert cost("ml.unheard.of", 1, 3600) is None
    assert describe(None) == "price unknown"
    assert describe(1234.5) == "$1,234.50"


def test_every_instance_we_choose_has_a_price():
    assert all(kind in prices() for _, kind in AUTO)


def test_own_table(tmp_path):
    table = tmp_path / "prices.yaml"
    table.write_text("ml.g6.xlarge: 1\n")
    assert cost("ml.g6.xlarge", 1, 7200, str(table)) == 2
    with pytest.raises(UserError, match="no such file"):
        cost("ml.g6.xlarge", 1, 1, str(tmp_path / "none"))
    table.with_name("bad.yaml").write_text("- 1\n")
    with pytest.raises(UserError, match="dollars per hour"):
        cost("ml.g6.xlarge", 1, 1, str(table.with_name("bad.yaml")))
