"""`launcher.resume=last` with nothing else stands for the sweep's own command."""

import json
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from rlvr.errors import UserError
from rlvr.manifest import Manifest
from rlvr.sweep.command import is_own, own_command, resume

STARTED = ["python", "train.py", "-m", "--config-dir", "mine", "experiment=quickstart", "seed=1,2"]


def record(*command: str, cwd: Path | None = None) -> Manifest:
    cwd_text = str(cwd) if cwd else None
    return Manifest("s", "n", "2025", "local", list(command), "metric", cwd=cwd_text)


@pytest.fixture
def sweeps(tmp_path):
    """Two sweeps, of which `new` was started in the folder `there`."""
    for name, created in (("old", "2024"), ("new", "2025")):
        (tmp_path / name).mkdir()
        made = record(*STARTED, cwd=tmp_path / "there")
        made.created = created
        made.save(tmp_path / name)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "added"),
    [
        (["launcher.resume=last"], []),
        (["-m", "launcher.resume=new"], []),
        (["launcher.resume=last", "--multirun", "launcher.n_jobs=4"], ["launcher.n_jobs=4"]),
        (["tracking=none", "launcher.resume=last"], ["tracking=none"]),
        (["launcher=slurm", "launcher.resume=last"], ["launcher=slurm"]),
    ],
)
def test_nothing_else_is_the_sweeps_own_command(sweeps, given, added):
    expected = [*STARTED[2:], *added, f"launcher.resume={sweeps}/new"]
    assert own_command(given, sweeps) == expected


@pytest.mark.parametrize(
    "given",
    [
        ["shots=4,8", "-m"],
        ["launcher.resume=last", "shots=4", "-m"],
        ["launcher.resume=null", "-m"],
        ["-m", "launcher.resume=last", "hydra.sweeper.max_batch_size=2"],
        ["--config-dir", "x", "model=tiny", "launcher.resume=last"],
    ],
)
def test_other_commands_are_left_as_they_are(sweeps, given):
    assert own_command(list(given), sweeps) == given


def test_what_is_given_wins_and_paths_are_the_users(sweeps, monkeypatch):
    saved = record(
        "python", "train.py", "output_dir=a", "launcher=slurm", "-m", "launcher.resume=x"
    )
    saved.save(sweeps / "old")
    monkeypatch.chdir(sweeps)
    given = ["launcher.resume=old", "output_dir=b", "launcher=local"]
    assert own_command(given, sweeps) == [
        *("-m", f"output_dir={sweeps}/b", "launcher=local", f"launcher.resume={sweeps}/old")
    ]


def test_the_process_moves_to_where_the_sweep_was_started(sweeps, monkeypatch, capsys):
    monkeypatch.chdir(sweeps)
    own_command(["launcher.resume=last"], sweeps)
    assert Path.cwd() == sweeps, "the folder is gone"
    (sweeps / "there").mkdir()
    own_command(["launcher.resume=last"], sweeps)
    assert Path.cwd() == sweeps / "there"
    assert capsys.readouterr().out == f"Going on in {sweeps}/there, where the sweep was started\n"


def test_a_sweep_that_cannot_be_read_is_one_message(sweeps):
    (sweeps / "new/sweep.json").write_text(json.dumps({"version": 2}))
    with pytest.raises(UserError, match="version 2, but this rlvr reads version 1"):
        own_command(["launcher.resume=new"], sweeps)
    with pytest.raises(UserError, match="is no sweep"):
        own_command(["launcher.resume=nowhere"], sweeps)


@pytest.mark.parametrize(
    "name", ["plain/1", "shots=2,4", "my sweep", "a'b", "{x}", "$HOME", "é(1)"]
)
def test_hydra_reads_any_directory_back(name):
    assert OverridesParser.create().parse_override(resume(f"/x/{name}")).value() == f"/x/{name}"


def test_the_same_command_in_another_order_is_the_sweeps_own():
    made = record("python", "train.py", "-m", "shots=2,4", "seed=1", "launcher.n_jobs=2")
    assert is_own(made, ["seed=1", "shots=2,4", "launcher.resume=last", "output_dir=x", "-m"])
    assert not is_own(made, ["seed=1", "shots=4,2", "-m"])
    assert not is_own(made, ["seed=1", "-m"])
