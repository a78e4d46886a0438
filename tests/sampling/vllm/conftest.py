"""Engines for these tests. They need vLLM: `make test-vllm` makes an environment with it."""

import pytest

from rlvr.sampling.vllm.settings import VllmSettings, unusable


@pytest.fixture(scope="session")
def vllm():
    """Skips where there is none that can be used, and says why."""
    if reason := unusable():
        pytest.skip(reason)


@pytest.fixture
def settings_of(tmp_path):
    def settings(folder, **changes):
        values = {
            "model": str(folder),
            "revision": None,
            "trust_remote_code": False,
            "dtype": "float32",
            "max_model_len": 1024,
            "lora_rank": 0,
            "memory_share": 0.3,
            "log": str(tmp_path / "vllm.log"),
        }
        return VllmSettings(**{**values, **changes})

    return settings
