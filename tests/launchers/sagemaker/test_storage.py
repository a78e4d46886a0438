import io
import tarfile

import pytest
from botocore.exceptions import ClientError

from rlvr.errors import UserError
from rlvr.launchers.sagemaker.storage import Storage, content_digest, read_tree


def test_put_once_leaves_a_marker_after_the_files(storage, monkeypatch):
    contents = {"a": b"1", "sub/b": b"2"}
    uri = storage.put_once("code", contents)
    digest = content_digest(contents)[:32]
    assert uri == f"s3://bucket/rlvr/code/{digest}/"
    keys = [key for key, _ in storage.walk("rlvr/code/")]
    assert keys == [f"rlvr/code/{digest}.complete"] + [
        f"rlvr/code/{digest}/{name}" for name in ("a", "sub/b")
    ]
    again = Storage(storage.client, "bucket", "rlvr")
    assert again.put_once("code", contents) == uri
    assert again.uploads == 0


def test_an_upload_that_was_cut_off_is_done_again(storage, monkeypatch):
    put = storage.client.put_object

    def fail_at_b(**kwargs):
        if kwargs["Key"].endswith("/b"):
            raise ClientError({"Error": {"Code": "SlowDown", "Message": ""}}, "PutObject")
        return put(**kwargs)

    monkeypatch.setattr(storage.client, "put_object", fail_at_b)
    with pytest.raises(ClientError):
        storage.put_once("code", {"a": b"1", "b": b"2"})
    monkeypatch.setattr(storage.client, "put_object", put)
    uri = storage.put_once("code", {"a": b"1", "b": b"2"})
    assert storage.get(uri.removeprefix("s3://bucket/") + "b") == b"2"


def test_a_dry_storage_uploads_nothing():
    dry = Storage(None, "bucket", "rlvr", dry=True)
    assert dry.put_once("code", {"a": b"1"}).startswith("s3://bucket/rlvr/code/")
    assert dry.uploads == 0


def test_objects_are_encrypted_with_the_key(storage):
    Storage(storage.client, "bucket", "", kms_key="alias/mine").put("x", b"1")
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


def test_missing_objects_and_empty_folders(storage, tmp_path):
    assert storage.get("nothing") is None
    with pytest.raises(UserError, match="no files"):
        read_tree(tmp_path)


def test_delete(storage):
    for number in range(3):
        storage.put(storage.key("sweeps", str(number)), b"")
    storage.delete([key for key, _ in storage.walk("rlvr/sweeps/")])
    assert list(storage.walk("rlvr/")) == []
