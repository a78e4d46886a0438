"""examples/own_reward runs as its README says."""

from pathlib import Path

import pytest

from rlvr.check import compose
from rlvr.cli import main
from rlvr.result import read
from rlvr.run import run

CONF = "examples/own_reward/conf"
SMALL = ["experiment=debug", "rewards=brief", "tracking=none", "dataset.loader.train_size=60"]


def test_rlvr_check_passes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    assert main(["check", "--config-dir", CONF, *SMALL, "rewards.brevity.limit=150"]) == 0
    shown = capsys.readouterr().out
    assert "brevity x 0.1" in shown
    assert "All checks passed." in shown


def test_training_pays_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    run(compose(["~launcher", *SMALL, "eval=none"], CONF), tmp_path)
    result = read(tmp_path)
    assert result is not None
    assert result.status == "finished"
    assert "brevity" in (tmp_path / "metrics.jsonl").read_text()
