"""One answer to "which process is this", whoever asks."""

import subprocess
import sys

import pytest

from rlvr import ranks


@pytest.mark.parametrize(
    ("environment", "is_rank", "rank"),
    [
        ({}, False, 0),
        ({"RANK": "0", "LOCAL_RANK": "0"}, True, 0),
        ({"RANK": "9", "LOCAL_RANK": "1"}, True, 9),
        ({"LOCAL_RANK": "3"}, True, 3),
        ({"RANK": "8", "LOCAL_RANK": "0"}, True, 8),
    ],
)
def test_the_environment_says_who_we_are(monkeypatch, environment, is_rank, rank):
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert (ranks.is_rank(), ranks.rank(), ranks.is_main()) == (is_rank, rank, rank == 0)


def test_asking_loads_nothing():
    code = (
        "import sys; before = set(sys.modules); import rlvr.ranks;"
        "print(len(set(sys.modules) - before))"
    )
    assert int(subprocess.check_output([sys.executable, "-c", code])) < 5


def test_the_first_of_several_machines_is_the_main_one(monkeypatch):
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert (ranks.hosts(), ranks.host(), ranks.is_main()) == (["localhost"], 0, True)
    monkeypatch.setenv("RLVR_HOSTS", "a,b")
    monkeypatch.setenv("RLVR_HOST", "1")
    assert (ranks.hosts(), ranks.host(), ranks.is_main()) == (["a", "b"], 1, False)
    monkeypatch.setenv("RANK", "0")  # as torchrun says
    assert ranks.is_main()
