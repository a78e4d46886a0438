"""Files that a server is sent, without a server."""

import json
from multiprocessing import Pipe
from threading import Thread

import pytest

from rlvr.sampling.vllm import process


def test_files_arrive_whole_in_place_of_those_before(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "PART", 4)
    ours, theirs = Pipe()
    sender = tmp_path / "sender"
    (sender / "nested").mkdir(parents=True)
    (sender / "empty.json").touch()
    for content in (b"first of two", b"second, longer"):
        (sender / "weights").write_bytes(content)
        thread = Thread(target=process.send_files, args=(ours, sender, process.UPDATE))
        thread.start()
        announced = json.loads(theirs.recv_bytes())
        sizes, name = announced["files"], announced["name"]
        folder = process.receive_files(theirs, sizes, tmp_path, name)
        thread.join()
        found = {file.name: file.read_bytes() for file in (tmp_path / process.UPDATE).iterdir()}
        assert folder == str(tmp_path / process.UPDATE)
        assert found == {"weights": content, "empty.json": b""}


def test_only_folders_for_what_is_received_are_replaced(tmp_path):
    (tmp_path / "kept").mkdir()
    with pytest.raises(ValueError, match=r"'\.\.' is no folder"):
        process.receive_files(None, {}, tmp_path / "kept", "..")
    assert (tmp_path / "kept").exists()
