import pytest

from rlvr.model_files import local_folder, model_files
from rlvr.paths import ASSETS

COMMIT = "0" * 40


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """A hub cache with one model, as huggingface_hub lays it out."""
    import huggingface_hub.constants

    folder = tmp_path / "models--some--model"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs/main").write_text(COMMIT)
    snapshot = folder / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    return snapshot


def test_a_folder_the_package_or_the_hubs_cache(tmp_path, cached):
    assert local_folder("package:tiny") == model_files("package:tiny") == ASSETS / "tiny"
    assert local_folder(str(tmp_path)) == model_files(str(tmp_path)) == tmp_path
    assert local_folder("some/model") is None
    assert model_files("some/model") == cached
    assert model_files("some/model", COMMIT) == cached
    assert model_files("some/other") is None
    assert model_files("no/such/folder") is None
