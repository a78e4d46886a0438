"""examples/own_verifier runs as its README says, and its class with any dataset."""

import subprocess
import sys
from pathlib import Path

import pytest

from rlvr.check import compose
from rlvr.cli import main
from rlvr.result import read
from rlvr.run import run

ROOT = Path(__file__).resolve().parents[2]
CONF = "examples/own_verifier/conf"
DEBUG = ["experiment=debug", "eval=none", "tracking=none"]
LAST_WORD = "dataset.verifier._target_=examples.own_verifier.last_word.LastWord"


def test_rlvr_check_passes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    small = ["experiment=debug", "dataset=capitals", "shots=0", "tracking=none"]
    assert main(["check", *small, "--config-dir", CONF, "+dataset.verifier.case=true"]) == 0
    assert "capitals: 26 train, 3 validation, 3 test questions" in capsys.readouterr().out


def test_a_mistake_in_its_parameters_is_one_message(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(["check", "experiment=debug", LAST_WORD, "+dataset.verifier.cse=true"]) == 1
    said = capsys.readouterr().err
    assert "did you mean case? It takes: case." in said
    assert "Traceback" not in said


def test_training_judges_by_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(ROOT)
    run(compose(["~launcher", *DEBUG, LAST_WORD], CONF), tmp_path)
    result = read(tmp_path)
    assert result is not None
    assert result.status == "finished"


@pytest.mark.slow
def test_a_sweep_takes_its_options(tmp_path: Path) -> None:
    """Jobs get the composed configuration, so they need no --config-dir of their own."""
    data = ["dataset=capitals", "shots=0", "trainer.preflight=false"]
    command = [sys.executable, "train.py", "-m", "--config-dir", CONF, *DEBUG, *data, "seed=1"]
    done = subprocess.run(
        [*command, f"output_dir={tmp_path}"], cwd=ROOT, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (result,) = tmp_path.rglob("result.json")
    assert '"finished"' in result.read_text()
