import io
import tarfile

import pytest
from botocore.exceptions import ClientError

from rlvr.errors import UserError
from rlvr.launchers.sagemaker.service import Service
from rlvr.launchers.sagemaker.storage import Storage, Tree


def test_put_once_leaves_a_marker_after_the_files(storage, tmp_path):
    (tmp_path / "b").write_bytes(b"2")
    tree = Tree.of({"a": b"1", "sub/b": tmp_path / "b"})
    storage.put_once("code", tree)
    assert storage.place("code", tree) == f"s3://bucket/rlvr/code/{tree.digest}/"
    keys = [key for key, _ in storage.walk("rlvr/code/")]
    assert keys == [f"rlvr/code/{tree.digest}.complete"] + [
        f"rlvr/code/{tree.digest}/{name}" for name in ("a", "sub/b")
    ]
    assert storage.get(f"rlvr/code/{tree.digest}/sub/b") == b"2"
    again = Storage(storage.service, "bucket", "rlvr")
    again.put_once("code", Tree.of({"a": b"1", "sub/b": b"2"}))
    assert again.uploads == 0, "on disk or in memory, it is the same"


def test_a_tree_is_named_by_names_and_contents(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    first = Tree.at(tmp_path)
    assert first.digest == Tree.at(tmp_path / "a").digest == Tree.of({"a": b"1"}).digest
    assert first.digest != Tree.of({"b": b"1"}).digest != Tree.of({"a": b"2"}).digest
    with pytest.raises(UserError, match="no files"):
        Tree.at(tmp_path / "nothing")


def test_a_large_file_goes_up_in_parts(storage, tmp_path, monkeypatch):
    """One `put_object` takes 5 GB at most, and needs it all in memory."""
    parts = []
    upload_part = storage.client.upload_part
    counted = lambda **given: parts.append(given["PartNumber"]) or upload_part(**given)  # noqa: E731
    monkeypatch.setattr(storage.client, "upload_part", counted)
    weights = tmp_path / "model.safetensors"
    with weights.open("wb") as file:
        file.truncate(20_000_000)
    storage.put("weights", weights)
    assert sorted(parts) == [1, 2, 3]
    assert dict(storage.walk("weights")) == {"weights": 20_000_000}


def test_an_upload_that_was_cut_off_is_done_again(storage, monkeypatch):
    put = storage.client.put_object

    def fail_at_b(**kwargs):
        if kwargs["Key"].endswith("/b"):
            raise ClientError({"Error": {"Code": "SlowDown", "Message": ""}}, "PutObject")
        return put(**kwargs)

    tree = Tree.of({"a": b"1", "b": b"2"})
    monkeypatch.setattr(storage.client, "put_object", fail_at_b)
    with pytest.raises(ClientError):
        storage.put_once("code", tree)
    monkeypatch.setattr(storage.client, "put_object", put)
    storage.put_once("code", tree)
    assert storage.get(f"rlvr/code/{tree.digest}/b") == b"2"


def test_a_dry_storage_uploads_nothing():
    dry = Storage(Service("us-east-1"), "bucket", "rlvr", dry=True)
    dry.put_once("code", Tree.of({"a": b"1"}))
    assert dry.uploads == 0


def test_objects_are_encrypted_with_the_key(storage):
    Storage(storage.service, "bucket", "", kms_key="alias/mine").put("x", b"1")
    head = storage.client.head_object(Bucket="bucket", Key="x")
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "alias/mine")


def tar(**members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def test_extract(storage, tmp_path):
    assert not storage.extract("nothing", tmp_path)
    storage.put("o.tar.gz", tar(**{"result.json": "{}", "train.log": "theirs"}))
    (tmp_path / "train.log").write_text("ours")
    assert storage.extract("o.tar.gz", tmp_path, skip=["train.log"])
    assert (tmp_path / "result.json").read_text() == "{}"
    assert (tmp_path / "train.log").read_text() == "ours"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["result.json", "train.log"]


def test_an_archive_cannot_write_elsewhere(storage, tmp_path):
    storage.put("evil.tar.gz", tar(**{"../evil": "x"}))
    inside = tmp_path / "inside"
    inside.mkdir()
    with pytest.raises(tarfile.FilterError):
        storage.extract("evil.tar.gz", inside)
    assert not (tmp_path / "evil").exists()


def test_missing_objects(storage):
    assert storage.get("nothing") is None


def test_delete(storage):
    for number in range(3):
        storage.put(storage.key("sweeps", str(number)), b"")
    storage.delete([key for key, _ in storage.walk("rlvr/sweeps/")])
    assert list(storage.walk("rlvr/")) == []
