from pathlib import Path

import pytest

from rlvr.tracking.registry import register_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    return folder


def test_a_version_has_the_files_and_is_made_once(tracking, client, model, tmp_path: Path):
    experiment = client.create_experiment("x", artifact_location=str(tmp_path / "artifacts"))
    first, second = (client.create_run(experiment).info.run_id for _ in range(2))
    register = lambda run: register_model(tracking.uri, run, model, "ours", {"gain": 0.5})  # noqa: E731
    assert [register(first), register(first), register(second)] == ["1", "1", "2"]
    version = client.get_model_version("ours", "1")
    assert (version.run_id, version.tags) == (first, {"gain": "0.5"})
    import mlflow

    mlflow.set_tracking_uri(tracking.uri)
    files = mlflow.artifacts.download_artifacts("models:/ours/1", dst_path=str(tmp_path / "got"))
    assert Path(files, "adapter_model.safetensors").read_bytes() == b"weights"


def test_a_store_that_is_gone_is_no_error(model, tmp_path: Path):
    uri = f"sqlite:///{tmp_path / 'gone.db'}"
    assert register_model(uri, "1" * 32, model, "ours", {}) is None
    assert not (tmp_path / "gone.db").exists()


def test_a_store_that_refuses_costs_a_warning(tracking, model, client, caplog):
    assert register_model(tracking.uri, "1" * 32, model, "ours", {}) is None
    assert "could not be registered" in caplog.text
