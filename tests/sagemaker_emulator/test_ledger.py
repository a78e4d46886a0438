"""The ledger says what AWS would bill, and of whom."""

import pytest
from botocore.exceptions import ClientError

from sagemaker_emulator import Bill, Emulator
from sagemaker_emulator.emulated import SPOT, eventually, submit, take

pytestmark = pytest.mark.timeout(240)
MACHINE = {"InstanceType": "ml.m5.xlarge", "InstanceCount": 2, "VolumeSizeInGB": 10}
KEPT = {"ResourceConfig": MACHINE | {"KeepAlivePeriodInSeconds": 3600}}


def test_every_instance_and_its_volume_is_billed(pretended: Emulator) -> None:
    tags = [{"Key": "sweep", "Value": "s"}]
    submit(pretended, "two", ResourceConfig=MACHINE, Tags=tags).wait()
    own_disks = MACHINE | {"InstanceType": "ml.g6.xlarge", "InstanceCount": 1}
    submit(pretended, "fast", ResourceConfig=own_disks).wait()
    two, fast = pretended.ledger().entries
    client = pretended.client("sagemaker")
    told = client.describe_training_job(TrainingJobName="two")["BillableTimeInSeconds"]
    assert two.billed_seconds == told > 0
    assert pretended.ledger().bill() == Bill(
        {
            ("us-east-1", "ml.m5.xlarge"): 2 * told,
            ("us-east-1", "ml.g6.xlarge"): fast.billed_seconds,
        },
        {"us-east-1": 2 * told * 10},
    )
    assert [entry.name for entry in pretended.ledger().tagged("sweep").entries] == ["two"]
    assert not pretended.ledger().tagged("sweep", "other").entries


def test_a_running_job_is_alive_and_billed_so_far(pretended: Emulator) -> None:
    take(pretended, running=4000)
    submit(pretended, "runs")
    assert [entry.name for entry in pretended.ledger().alive] == ["runs"]
    eventually(lambda: pretended.ledger().entries[0].billed_seconds > 5)
    assert pretended.ledger().entries[0].ended is None


def test_an_instance_kept_warm_is_billed_until_it_is_given_back(pretended: Emulator) -> None:
    job = submit(pretended, "warm", **KEPT).wait()
    assert [entry.name for entry in pretended.ledger().warm] == ["warm"]
    assert not pretended.ledger().alive
    client = pretended.client("sagemaker")
    with pytest.raises(ClientError, match="warm pool"):
        client.delete_training_job(TrainingJobName="warm")
    eventually(lambda: job.idle_seconds > 5)
    back = {"KeepAlivePeriodInSeconds": 0}
    client.update_training_job(TrainingJobName="warm", ResourceConfig=back)
    (entry,) = pretended.ledger().entries
    assert not entry.warm
    assert entry.idle_seconds >= 5
    assert entry.instance_seconds == 2 * (entry.billed_seconds + entry.idle_seconds)
    client.delete_training_job(TrainingJobName="warm")
    assert pretended.ledger().entries == (entry,), "deleted, and paid for all the same"


def test_warm_pools_have_a_quota_of_their_own(pretended: Emulator) -> None:
    pretended.faults.warm_quotas = {"ml.m5.xlarge": 2}
    submit(pretended, "kept", **KEPT).wait()
    submit(pretended, "cold")
    with pytest.raises(ClientError, match=r"training warm pool usage' is 2 Instances"):
        submit(pretended, "kept-too", **KEPT)


@pytest.mark.slow
def test_spot_is_billed_less_and_its_volume_is_not(pretended: Emulator) -> None:
    take(pretended, running=200)
    submit(pretended, "spot", ResourceConfig=MACHINE, **SPOT).wait()
    (entry,) = pretended.ledger().entries
    assert entry.billed_seconds == pytest.approx(0.3 * entry.training_seconds, abs=1)
    assert entry.volume_gb_seconds == 2 * 10 * entry.training_seconds


def test_what_never_had_an_instance_costs_nothing(pretended: Emulator) -> None:
    pretended.faults.capacity_errors = 1
    submit(pretended, "none", **KEPT).wait()
    assert pretended.ledger().bill().instance_seconds == {("us-east-1", "ml.m5.xlarge"): 0}
    assert not pretended.ledger().warm
