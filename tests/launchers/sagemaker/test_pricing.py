import json
from datetime import UTC, datetime

import boto3
import pytest
from botocore.stub import Stubber

from rlvr.errors import UserError
from rlvr.launchers.sagemaker.instances import AUTO
from rlvr.launchers.sagemaker.pricing import describe, prices, refresh


def test_cost_is_price_times_instances_times_hours():
    hour = prices().hourly["ml.g6.xlarge"]
    assert prices().cost("ml.g6.xlarge", 2, 1800) == pytest.approx(hour, abs=1e-4)
    assert prices().cost("ml.m5.xlarge", 1, 3600, 730) == pytest.approx(0.23 + 0.14)
    assert prices().cost("ml.unheard.of", 1, 3600) is None
    assert describe(None) == "price unknown"
    assert describe(1234.5) == "$1,234.50"


def test_every_instance_we_choose_has_a_price():
    assert all(kind in prices().hourly for _, kind in AUTO)


def test_the_shipped_prices_say_what_they_are():
    assert "never checked" in prices().source()
    assert "us-east-1" in prices().source()


def test_own_table(tmp_path):
    table = tmp_path / "prices.yaml"
    table.write_text("date: 2030-01-02\nml.g6.xlarge: 1\n")
    assert prices(str(table)).cost("ml.g6.xlarge", 1, 7200) == 2
    assert prices(str(table)).source() == "prices of 2030-01-02 in an unknown region"
    with pytest.raises(UserError, match="no such file"):
        prices(str(tmp_path / "none"))
    table.with_name("bad.yaml").write_text("- 1\n")
    with pytest.raises(UserError, match="dollars per hour"):
        prices(str(table.with_name("bad.yaml")))


def product(price, **attributes):
    dimensions = {"x": {"pricePerUnit": {"USD": price}, "unit": "Hrs"}}
    return json.dumps(
        {
            "product": {"productFamily": "ML Instance", "attributes": attributes},
            "terms": {"OnDemand": {"y": {"priceDimensions": dimensions}}},
        }
    )


def test_aws_is_asked_for_its_prices(outputs):
    """The request is checked by botocore; the answer has the price list's form."""
    client = boto3.client("pricing", "us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    listed = [
        product("1.25", instanceName="ml.g6.xlarge", usagetype="EU-Train:ml.g6.xlarge"),
        product("0.16", usagetype="EU-Train:VolumeUsage.gp2"),
        product("0.02", usagetype="EU-Train:Data-Bytes-Out"),
    ]
    filters = [
        {"Type": "TERM_MATCH", "Field": "regionCode", "Value": "eu-west-1"},
        {"Type": "TERM_MATCH", "Field": "component", "Value": "Training"},
    ]
    with Stubber(client) as stub:
        stub.add_response(
            "get_products",
            {"PriceList": listed, "FormatVersion": "aws_v1"},
            {"ServiceCode": "AmazonSageMaker", "FormatVersion": "aws_v1", "Filters": filters},
        )
        refresh("eu-west-1", client)
    assert prices().hourly == {"ml.g6.xlarge": 1.25}
    assert prices().volume == 0.16
    assert prices().source() == f"prices of {datetime.now(UTC):%Y-%m-%d} in eu-west-1"

    with Stubber(client) as stub:
        stub.add_response("get_products", {"PriceList": [], "FormatVersion": "aws_v1"})
        with pytest.raises(UserError, match="no SageMaker training in mars-1"):
            refresh("mars-1", client)
