"""A few seeds of each launcher; benchmarks/launcher_faults.py runs hundreds."""

from pathlib import Path

import pytest
from sagemaker_emulator import Emulator

from launcher_fuzz import on_processes, on_sagemaker
from launcher_fuzz.controllers import Controllers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def controllers():
    with Controllers() as made:
        yield made


@pytest.fixture(scope="module")
def emulator(tmp_path_factory):
    with Emulator(pretend=on_sagemaker.pretend()) as made:
        prices = on_sagemaker.prepare(made, tmp_path_factory.mktemp("fuzz"))
        yield made, prices


@pytest.mark.parametrize("seed", [7, 17, 3])
def test_sagemaker(seed, emulator, controllers, sdk_cache: Path, tmp_path: Path):
    service, prices = emulator
    service.reset()
    fuzzed = on_sagemaker.draw(seed, service, prices)
    campaign = on_sagemaker.SageMakerCampaign(fuzzed, controllers, tmp_path, service, sdk_cache)
    assert campaign.run(kills=2).problems == []


@pytest.mark.parametrize("seed", [0, 1, 5])
def test_local(seed, controllers, tmp_path: Path):
    fuzzed = on_processes.draw(seed)
    assert on_processes.LocalCampaign(fuzzed, controllers, tmp_path).run(kills=2).problems == []


@pytest.mark.parametrize("seed", [2, 4])
def test_slurm(seed, controllers, tmp_path: Path):
    fuzzed = on_processes.draw(seed, "slurm")
    assert on_processes.SlurmCampaign(fuzzed, controllers, tmp_path).run(kills=2).problems == []
