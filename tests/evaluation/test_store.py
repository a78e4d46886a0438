"""The store alone: what is written stays, what is claimed is claimed once."""

import subprocess
import sys

from rlvr.evaluation.store import ASKED, Samples, Store

ANSWERS = {"a": Samples(["x\n"], [1], [True]), "b": Samples(["ü"], [2], [False])}


def test_what_one_process_adds_another_reads(tmp_path):
    first, second = Store(tmp_path, {"m": 1}), Store(tmp_path, {"m": 1})
    first.add(ANSWERS)
    assert second.missing(["a", "b", "c"]) == ["a", "b", "c"]
    second.refresh()
    assert second.known == ANSWERS
    assert second.missing(["a", "b", "c"]) == ["c"]
    assert '"m": 1' in (second.folder / ASKED).read_text()


def test_other_ways_of_asking_have_other_folders(tmp_path):
    Store(tmp_path, {"m": 1}).add(ANSWERS)
    other = Store(tmp_path, {"m": 2})
    other.refresh()
    assert other.known == {}


def test_a_write_that_broke_off_is_not_read(tmp_path):
    store = Store(tmp_path, {})
    (store.folder / ".half.jsonl.123").write_text('{"key": "a", "te')
    store.refresh()
    assert store.known == {}


def test_folders_of_two_machines_can_be_merged_by_name(tmp_path):
    stores = [Store(tmp_path / name, {}) for name in ("here", "there")]
    for store, key in zip(stores, ANSWERS, strict=True):
        store.add({key: ANSWERS[key]})
    for file in stores[0].folder.glob("*.jsonl"):
        (stores[1].folder / file.name).write_bytes(file.read_bytes())
    stores[1].refresh()
    assert stores[1].known == ANSWERS


CLAIM = """
import sys
from pathlib import Path
from rlvr.evaluation.store import Store
with Store(Path(sys.argv[1]), {}).claim(["a"], wait=False) as mine:
    print(mine, flush=True)
    sys.stdin.read()
"""


def claimant(folder):
    process = subprocess.Popen(
        [sys.executable, "-c", CLAIM, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    return process, process.stdout.readline().strip()


def test_a_claim_is_one_processs_until_it_ends_however_it_ends(tmp_path):
    first, got = claimant(tmp_path)
    assert got == "True"
    second, got = claimant(tmp_path)
    assert got == "False"
    store = Store(tmp_path, {})
    with store.claim(["b"], wait=False) as mine:
        assert mine, "another batch is free"
    first.kill()
    first.wait()
    with store.claim(["a"], wait=True) as mine:
        assert mine
    second.communicate("")


def test_who_waited_sees_what_was_answered_meanwhile(tmp_path):
    store, other = Store(tmp_path, {}), Store(tmp_path, {})
    other.add(ANSWERS)
    with store.claim(["a", "b"], wait=True) as mine:
        assert mine
        assert store.missing(["a", "b"]) == []
