"""Hydra's own tests of a launcher, all 21 of them, through the emulator."""

import sys
from pathlib import Path

import pytest
from hydra.core.singleton import Singleton
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
)
from hydra.version import VersionBase

sys.path.insert(0, str(Path(__file__).parents[1]))
from sagemaker_emulator import BUCKET, WHY_NOT, available_mode

pytest_plugins = ["sagemaker_emulator.testing"]
pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(available_mode() is None, reason=WHY_NOT),
]


NAME = "rlvr_sagemaker"


@pytest.fixture(autouse=True)
def default_version_base(monkeypatch):
    """The suite is written for Hydra's default; tests that compose conf/ leave "1.3" behind."""
    monkeypatch.delitem(Singleton._instances, VersionBase, raising=False)


@pytest.fixture
def hydra_env(emulator, monkeypatch, tmp_path):
    """Hydra's suite gives no launcher settings: they come from the environment."""
    for key, value in emulator.env().items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("RLVR_SAGEMAKER_ROLE", "arn:aws:iam::123456789012:role/emulated-role")
    monkeypatch.setenv("RLVR_SAGEMAKER_BUCKET", BUCKET)
    monkeypatch.setenv("RLVR_SAGEMAKER_POLL_SECONDS", "0.3")
    monkeypatch.setenv("RLVR_SAGEMAKER_REQUIREMENTS", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(emulator.cache))


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
