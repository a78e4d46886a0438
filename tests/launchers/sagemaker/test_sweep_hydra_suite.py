"""Hydra's own tests of a launcher, all 21 of them, through the emulator."""

import pytest
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
)
from sagemaker_emulator import BUCKET
from sagemaker_emulator.marks import EMULATED

pytest_plugins = ["sagemaker_emulator.testing"]
pytestmark = [*EMULATED, pytest.mark.slow, pytest.mark.usefixtures("default_version_base")]


NAME = "rlvr_sagemaker"


@pytest.fixture
def hydra_env(emulator, monkeypatch, tmp_path):
    """Hydra's suite gives no launcher settings: they come from the environment."""
    for key, value in emulator.env().items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("RLVR_SAGEMAKER_ROLE", "arn:aws:iam::123456789012:role/emulated-role")
    monkeypatch.setenv("RLVR_SAGEMAKER_BUCKET", BUCKET)
    monkeypatch.setenv("RLVR_SAGEMAKER_POLL_SECONDS", "0.1")
    monkeypatch.setenv("RLVR_SAGEMAKER_REQUIREMENTS", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(emulator.sdk_cache))


@pytest.mark.usefixtures("hydra_env")
@pytest.mark.parametrize(("launcher_name", "overrides"), [(NAME, [])])
class TestLauncher(LauncherTestSuite):
    pass


@pytest.mark.usefixtures("hydra_env")
@pytest.mark.parametrize(
    ("launcher_name", "overrides"), [(NAME, ["hydra.sweeper.max_batch_size=2"])]
)
class TestBatches(BatchedSweeperTestSuite):
    pass


@pytest.fixture
def shared_tmp(emulator_server, tmp_path):
    """The suite's task writes its findings to a file that the test reads: a shared file system."""
    emulator_server.machine.share.append(tmp_path.parent)
    yield
    emulator_server.machine.share.clear()


@pytest.mark.usefixtures("hydra_env", "shared_tmp")
@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"), [({}, ["-m", f"hydra/launcher={NAME}"])]
)
class TestIntegration(IntegrationTestSuite):
    pass
