"""examples/own_code_tasks runs as its README says, and says in which sandbox."""

from pathlib import Path

import pytest

from rlvr.check import compose
from rlvr.cli import main
from rlvr.result import read
from rlvr.run import run

ROOT = Path(__file__).resolve().parents[2]
CONF = "examples/own_code_tasks/conf"
DEBUG = ["experiment=debug", "dataset=boxes", "rewards=code", "tracking=none"]


def test_rlvr_check_passes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(["check", *DEBUG, "--config-dir", CONF]) == 0
    said = capsys.readouterr().out
    assert "boxes: 5 train, 1 validation, 2 test questions" in said
    assert "gold                1.00                1.00    1.00" in said


def test_training_judges_by_it_and_records_the_sandbox(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(ROOT)
    run(compose(["~launcher", *DEBUG, "eval=none", "trainer.preflight=off"], CONF), tmp_path)
    result = read(tmp_path)
    assert result is not None
    assert (result.status, result.error) == ("finished", None)
    assert str(result.sandbox).split(" ")[0] in ("bubblewrap", "sandlock", "landlock")
