"""In which order a job tries regions, instance types, spot and on demand."""

import pytest

from rlvr.launchers.sagemaker.places import Place, places
from rlvr.launchers.sagemaker.settings import SageMakerSettings

ROLE = "arn:aws:iam::123456789012:role/x"
A, B, HERE, THERE = "ml.a.large", "ml.b.large", "us-east-1", "eu-west-1"


def tried(**settings):
    node = {"role": ROLE, "bucket": None, "instance_type": A, **settings}
    read = SageMakerSettings.read(node, "sagemaker")
    return [(p.region, p.instance_type, p.spot) for p in places(read, {}, HERE)]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [(HERE, A, False)]),
        ({"spot": True}, [(HERE, A, True)]),
        ({"fallback_instance_types": [B]}, [(HERE, A, False), (HERE, B, False)]),
        ({"regions": [HERE, THERE]}, [(HERE, A, False), (THERE, A, False)]),
        ({"spot": True, "on_demand_fallback": True}, [(HERE, A, True), (HERE, A, False)]),
    ],
)
def test_one_thing_after_the_other(settings, expected):
    assert tried(**settings) == expected


def test_spot_everywhere_before_on_demand_anywhere():
    everything = {
        "spot": True,
        "on_demand_fallback": True,
        "regions": [THERE],
        "fallback_instance_types": [B],
    }
    spot = [(HERE, A), (HERE, B), (THERE, A), (THERE, B)]
    assert tried(**everything) == [(*p, True) for p in spot] + [(*p, False) for p in spot]


def test_a_place_in_words():
    assert str(Place(HERE, A, spot=True)) == "ml.a.large spot in us-east-1"
    assert str(Place(HERE, A)) == "ml.a.large on demand in us-east-1"
