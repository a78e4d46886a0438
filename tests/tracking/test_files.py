from pathlib import Path

from rlvr.tracking.files import OUTPUTS, artifacts


def test_what_is_there_in_order(tmp_path: Path):
    for name in ("train.log", "result.json", "preflight.json", "progress.json", "job.log"):
        (tmp_path / name).touch()
    found = [path.name for path in artifacts(tmp_path, OUTPUTS)]
    assert found == ["result.json", "preflight.json", "job.log", "train.log"]
