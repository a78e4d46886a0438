import json
from datetime import UTC, datetime

import boto3
import pytest
from botocore.stub import Stubber

from rlvr.errors import UserError
from rlvr.launchers.sagemaker.instances import AUTO
from rlvr.launchers.sagemaker.pricing import describe, prices, refresh

HOME = "us-east-1"


def test_an_hour_is_instances_and_their_disks():
    table = prices(HOME)
    price = table.instances["ml.g6.xlarge"]
    assert table.hourly("ml.g6.xlarge", 2, 730) == (2 * price, 0), "its disk is part of it"
    assert table.hourly("ml.m5.xlarge", 2, 730) == pytest.approx((2 * 0.23, 2 * 0.14))
    assert table.hourly("ml.unheard.of", 1, 730) is None
    assert describe(None) == "price unknown"
    assert describe(1234.5) == "$1,234.50"


def test_every_instance_we_choose_has_a_price():
    assert all(kind in prices(HOME).instances for _, kind in AUTO)


def test_the_shipped_prices_say_what_they_are_and_are_of_one_region():
    assert "never checked" in prices(HOME).source()
    assert HOME in prices(HOME).source()
    assert prices("eu-west-1") is None, "dearer there"


def test_own_table(tmp_path):
    table = tmp_path / "prices.yaml"
    table.write_text("date: 2030-01-02\nml.g6.xlarge: 1\n")
    for region in (HOME, "eu-west-1"):
        assert prices(region, str(table)).hourly("ml.g6.xlarge", 2, 0) == (2, 0)
    assert prices(HOME, str(table)).source() == "prices of 2030-01-02 in every region"
    table.with_name("there.yaml").write_text("region: eu-west-1\nml.g6.xlarge: 1\n")
    assert prices("eu-west-1", str(table.with_name("there.yaml")))
    assert prices(HOME, str(table.with_name("there.yaml"))) is None
    table.with_name("bad.yaml").write_text("- 1\n")
    with pytest.raises(UserError, match="dollars per hour"):
        prices(HOME, str(table.with_name("bad.yaml")))


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
        product("1.75", instanceName="ml.g6.xlarge", usagetype="EU-Train:ml.g6.xlarge-b"),
        product("1.50", instanceName="ml.g6.xlarge", usagetype="EU-Train:ml.g6.xlarge-c"),
        product("0.40", instanceName="ml.g6.xlarge", usagetype="EU-Train:SpotUsage:ml.g6.xlarge"),
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
    table = prices("eu-west-1")
    assert table.instances == {"ml.g6.xlarge": 1.75}, "the dearer one of two products"
    assert table.volume == 0.16
    assert table.source() == f"prices of {datetime.now(UTC):%Y-%m-%d} in eu-west-1"
    assert "never checked" in prices(HOME).source(), "of another region nothing was asked"

    with Stubber(client) as stub:
        stub.add_response("get_products", {"PriceList": [], "FormatVersion": "aws_v1"})
        with pytest.raises(UserError, match="no SageMaker training in mars-1"):
            refresh("mars-1", client)
