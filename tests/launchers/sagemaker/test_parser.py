"""The arguments of `rlvr jobs`, and that every action has its command."""

from pathlib import Path

import pytest
from rlvr.launchers.sagemaker.parser import ACTIONS

from rlvr.cli import parser
from rlvr.launchers.sagemaker import commands


def parsed(*arguments):
    return parser().parse_args(["jobs", *arguments])


def test_every_action_has_its_command():
    assert set(ACTIONS) == set(commands.ACTIONS)
    for action in ACTIONS:
        chosen = parsed(action)
        assert (chosen.action, chosen.sweep, chosen.job) == (action, "last", None)


def test_options_of_some():
    assert parsed("logs", "-f", "--job", "3", "--job", "4").job == [3, 4]
    assert parsed("stop", "-y", "20250101-abc").yes
    assert parsed("collect", "x", "--into", "found").into == Path("found")
    assert parsed("status", "x", "--region", "eu-west-1").region == "eu-west-1"


@pytest.mark.parametrize("arguments", [(), ("list", "-y"), ("logs", "--job", "x"), ("explode",)])
def test_what_is_no_command(arguments, capsys):
    with pytest.raises(SystemExit):
        parsed(*arguments)
    assert "usage: rlvr" in capsys.readouterr().err
