"""A checkpoint is read as it was written, or not at all."""

import pytest

from rlvr.training import checkpoints

FILES = ("adapter_model.safetensors", "optimizer.pt", "state_0.pt", "deep/shard_0.pt")


def write(folder, step):
    written = checkpoints.aside(folder) / f"checkpoint-{step}"
    (written / "deep").mkdir(parents=True)
    for name in FILES:
        (written / name).write_bytes(f"{name} of step {step}".encode() * 9)
    return checkpoints.publish(written, folder)


def test_what_was_written_is_whole_and_the_newest_two_stay(tmp_path):
    for step in (2, 10, 9, 11):
        assert checkpoints.damage(write(tmp_path, step)) is None
    assert [c.name for c in checkpoints.newest_first(tmp_path)] == [
        "checkpoint-11",
        "checkpoint-10",
    ]
    assert not any((tmp_path / checkpoints.ASIDE).iterdir())


def truncate(file):
    file.write_bytes(file.read_bytes()[:-1])


def flip(file):
    file.write_bytes(b"X" + file.read_bytes()[1:])


@pytest.mark.parametrize(
    "tear", [truncate, flip, lambda f: f.write_bytes(b""), lambda f: f.unlink()]
)
@pytest.mark.parametrize("name", [*FILES, "digests_0.json"])
def test_a_checkpoint_torn_at_any_of_its_files_is_noticed(tmp_path, name, tear):
    checkpoint = write(tmp_path, 3)
    tear(checkpoint / name)
    assert checkpoints.damage(checkpoint)


def test_the_same_step_again_replaces_a_torn_one(tmp_path):
    truncate(write(tmp_path, 3) / FILES[0])
    assert checkpoints.damage(write(tmp_path, 3)) is None


def test_two_machines_without_a_common_disk_seal_their_own_parts(tmp_path, monkeypatch):
    first = write(tmp_path / "a", 3)
    monkeypatch.setenv("RANK", "8")
    second = write(tmp_path / "b", 3)
    seal = (second / "digests_8.json").read_text()
    (first / "digests_8.json").write_text(seal)  # as one copy of both, such as S3's
    assert checkpoints.damage(first) is None
    (first / "digests_8.json").write_text(seal.replace("optimizer.pt", "optimizer_8.pt"))
    assert "optimizer_8.pt" in checkpoints.damage(first)


def test_a_place_that_is_no_checkpoint_is_none(tmp_path):
    (tmp_path / "checkpoint-best").mkdir()
    (tmp_path / "completions").mkdir()
    assert checkpoints.newest_first(tmp_path) == []
    assert checkpoints.newest_first(tmp_path / "missing") == []
