import os
import subprocess
import sys
from pathlib import Path

import pytest

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
    assert found.stderr.startswith("rlvr compare: no sweep in")
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize("arguments", [(), ("nonsense",)])
def test_a_command_is_needed(arguments: tuple[str, ...]):
    found = rlvr(*arguments)
    assert found.returncode == 2
    assert "usage: rlvr" in found.stderr
