"""What the real SDK makes of the launcher's settings."""

import pytest

from rlvr.launchers.sagemaker import sdk_template
from rlvr.launchers.sagemaker.sdk_template import resolve_image
from rlvr.launchers.sagemaker.service import Service
from rlvr.launchers.sagemaker.settings import Settings
from rlvr.launchers.sagemaker.storage import Storage

ROLE = "arn:aws:iam::123456789012:role/x"


@pytest.fixture
def template(storage):
    """As a new process would get it, that has not used the bucket yet."""

    def make(**settings):
        service = Service.connect("us-east-1")
        read = Settings.read({"role": ROLE, **settings})
        used = Storage(storage.client, "bucket", "rlvr")
        return sdk_template.template(service, used, read, "ml.g6.2xlarge")

    return make


def drivers(made):
    (channel,) = made["InputDataConfig"]
    return channel["DataSource"]["S3DataSource"]["S3Uri"]


def test_its_script_ends_in_our_bootstrap(template, storage):
    script = storage.get(drivers(template()).removeprefix("s3://bucket/") + "sm_train.sh").decode()
    assert "exec $SM_PYTHON_CMD -m rlvr.launchers.sagemaker.bootstrap" in script
    assert "tar -xzf code.tar.gz" in script
    assert "install_requirements.py requirements.txt" in script


def test_spot_network_and_keys(template):
    made = template(
        spot=True,
        max_runtime=100,
        subnets=["subnet-12345678"],
        security_groups=["sg-12345678"],
        network_isolation=True,
        encrypt_traffic=True,
        kms_key="alias/out",
        volume_kms_key="alias/disk",
        requirements=None,
    )
    assert made["EnableManagedSpotTraining"] is True
    assert made["StoppingCondition"] == {"MaxRuntimeInSeconds": 100, "MaxWaitTimeInSeconds": 200}
    assert "KeepAlivePeriodInSeconds" not in made["ResourceConfig"], "no warm pool on spot"
    assert made["VpcConfig"] == {
        "Subnets": ["subnet-12345678"],
        "SecurityGroupIds": ["sg-12345678"],
    }
    assert made["EnableNetworkIsolation"] is True
    assert made["EnableInterContainerTrafficEncryption"] is True
    assert made["OutputDataConfig"]["KmsKeyId"] == "alias/out"
    assert made["ResourceConfig"]["VolumeKmsKeyId"] == "alias/disk"


def test_a_second_sweep_takes_it_from_the_cache(template, monkeypatch):
    first = template()
    monkeypatch.setattr(sdk_template, "_from_sdk", None)
    assert template() == first


def test_a_lost_bucket_is_filled_again(template, storage):
    first = template()
    keys = [key for key, _ in storage.walk("")]
    storage.delete(keys)
    assert template() == first
    assert sorted(key for key, _ in storage.walk("")) == sorted(keys)


def test_an_image_of_ones_own_is_taken_as_it_is():
    assert resolve_image("mine:1", "us-east-1", "ml.g6.xlarge") == "mine:1"
