"""`rlvr jobs`: its arguments, and its list of the sweeps of all launchers."""

from pathlib import Path

import pytest

from rlvr import jobs
from rlvr.cli import main, parser
from rlvr.launchers.sagemaker import commands
from rlvr.manifest import Job, Manifest
from rlvr.paths import output_dir
from rlvr.states import State


def parsed(*arguments):
    return parser().parse_args(["jobs", *arguments])


def test_every_action_has_its_command():
    assert set(jobs.ACTIONS) - {"watch"} == set(commands.ACTIONS)
    for action in jobs.ACTIONS:
        chosen = parsed(action)
        # without a sweep these two look at all there are
        unnamed = None if action in ("list", "cleanup") else "last"
        assert (chosen.action, chosen.sweep, chosen.job) == (action, unnamed, None)


def test_options_of_some():
    assert parsed("logs", "-f", "--job", "3", "--job", "4").job == [3, 4]
    assert parsed("stop", "-y", "20250101-abc").yes
    assert parsed("collect", "x", "--into", "found").into == Path("found")
    assert parsed("status", "x", "--region", "eu-west-1").region == "eu-west-1"
    assert parsed("watch", "s3://bucket/rlvr/sweeps/1", "--once").once
    assert parsed("list", "--remote").remote
    assert parsed("prices", "--refresh", "--region", "eu-west-1").refresh


@pytest.mark.parametrize("arguments", [(), ("list", "-y"), ("logs", "--job", "x"), ("explode",)])
def test_what_is_no_command(arguments, capsys):
    with pytest.raises(SystemExit):
        parsed(*arguments)
    assert "usage: rlvr" in capsys.readouterr().err


def recorded(name, launcher, created, *every):
    directory = output_dir() / "sweeps" / name
    directory.mkdir(parents=True)
    made = [
        Job(index, f"shots={index}", "h", [], str(index), **job) for index, job in enumerate(every)
    ]
    command = ["python", "train.py", "-m"]
    Manifest(name, name, created, launcher, command, "trained/accuracy", jobs=made).save(directory)
    return directory


@pytest.fixture
def three_sweeps():
    """One of each launcher."""
    finished, failed = {"state": State.finished}, {"state": State.failed}
    gone = {"state": State.running, "pid": 1 << 30}
    recorded("on-slurm", "slurm", "2025-01-02", {"state": State.running, "remote": {"id": "7"}})
    recorded("here", "local", "2025-01-01", finished, gone, {})
    remote = {"name": "rlvr-1", "cost": 1.25}
    paid = [
        {**finished, "remote": remote},
        {**failed, "remote": {**remote, "cost": None}, "spent": 2.5},
    ]
    recorded("in-cloud", "sagemaker", "2025-01-03", *paid)


@pytest.mark.usefixtures("three_sweeps")
def test_the_sweeps_of_all_launchers_the_newest_last(capsys, monkeypatch):
    monkeypatch.setattr(commands, "run", None)  # AWS is not asked
    assert main(["jobs", "list"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "sweep launcher jobs cost",
        "here local 1 pending, 1 finished, 1 lost",
        "on-slurm slurm 1 running",
        "in-cloud sagemaker 1 finished, 1 failed $3.75",
    ]


@pytest.mark.usefixtures("three_sweeps")
def test_the_jobs_of_one_sweep_wherever_it_runs(capsys, monkeypatch):
    monkeypatch.setattr(commands, "run", None)
    assert main(["jobs", "list", "here"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[1:] == [
        "#0 finished shots=0",
        f"#1 lost process {1 << 30} shots=1",
        "#2 pending shots=2",
    ]
    assert main(["jobs", "list", "on-slurm"]) == 0
    assert "#0   running" in capsys.readouterr().out


def test_without_any_sweep_there_is_nothing_to_list(capsys):
    assert main(["jobs", "list"]) == 0
    assert capsys.readouterr().out.split() == ["sweep", "launcher", "jobs", "cost"]


@pytest.mark.usefixtures("three_sweeps")
def test_actions_on_aws_are_for_its_own_sweeps(capsys):
    for action in ("status", "stop"):
        assert main(["jobs", action, "here"]) == 1
        assert "no SageMaker jobs found for sweep here" in capsys.readouterr().err
    assert main(["jobs", "watch", "on-slurm"]) == 1
    assert "rlvr resume" in capsys.readouterr().err


@pytest.mark.parametrize(
    "uri", ["s3://bucket", "s3://bucket/rlvr", "s3://bucket/rlvr/sweeps/", "s3://b/sweeps/1/000-a"]
)
def test_a_uri_that_is_no_sweeps_is_told_before_aws_is_asked(uri, capsys):
    assert main(["jobs", "watch", uri]) == 1
    assert f"{uri}: expected s3://BUCKET/PREFIX/sweeps/ID" in capsys.readouterr().err
