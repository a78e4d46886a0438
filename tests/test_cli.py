import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlvr import __version__
from rlvr.cli import main

HEAVY = (
    "torch",
    "transformers",
    "trl",
    "datasets",
    "mlflow",
    "matplotlib",
    "pandas",
    "rich",
    "hydra",
)


def rlvr(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rlvr", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
        timeout=100,
        check=False,
    )


def test_help_lists_the_commands():
    found = rlvr("--help")
    assert found.returncode == 0
    assert "compare" in found.stdout
    assert "SWEEP" in rlvr("compare", "--help").stdout


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from rlvr.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        f"print('loaded', [name for name in {HEAVY} if name in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    assert "loaded []" in subprocess.check_output(command, text=True)


def test_bad_input_is_one_message_without_a_traceback(tmp_path: Path):
    found = rlvr("compare", RLVR_OUTPUT_DIR=str(tmp_path))
    assert found.returncode == 1
    assert "\nrlvr compare: no sweep in" in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["compar"], "did you mean compare?"),
        (["nonsense"], "invalid choice: 'nonsense'"),
        (["evaluate", "last", "--shots", "a"], "--shots: 'a': expected numbers, such as 0,2,4,8"),
    ],
)
def test_what_cannot_be_read_is_said_with_the_usage(arguments, said, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: rlvr" in (told := capsys.readouterr().err)
    assert said in told


def test_without_a_command_there_is_help(capsys):
    assert main([]) == 0
    assert "compare" in capsys.readouterr().out


def test_the_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"rlvr {__version__}\n"


@pytest.mark.parametrize("command", ["check", "compare", "report", "evaluate"])
def test_a_command_says_at_once_what_it_does(command, monkeypatch, capsys):
    """Before anything that its work imports."""
    monkeypatch.setattr(f"rlvr.cli._{command}", lambda chosen: None)
    assert main([command, *(["last"] if command == "evaluate" else [])]) == 0
    assert capsys.readouterr().err.startswith(f"rlvr {command}: ")
