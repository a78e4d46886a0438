"""Hydra's own tests of a launcher, all 21 of them, on the local launcher."""

import pytest
from hydra.core.singleton import Singleton
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
)
from hydra.version import VersionBase

NAME = "rlvr_local"


@pytest.fixture(autouse=True)
def default_version_base(monkeypatch):
    """The suite is written for Hydra's default; tests that compose conf/ leave "1.3" behind."""
    monkeypatch.delitem(Singleton._instances, VersionBase, raising=False)


@pytest.mark.parametrize(("launcher_name", "overrides"), [(NAME, [])])
class TestLauncher(LauncherTestSuite):
    pass


@pytest.mark.parametrize(
    ("launcher_name", "overrides"), [(NAME, ["hydra.sweeper.max_batch_size=2"])]
)
class TestBatches(BatchedSweeperTestSuite):
    pass


@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"), [({}, ["-m", f"hydra/launcher={NAME}"])]
)
class TestIntegration(IntegrationTestSuite):
    pass
