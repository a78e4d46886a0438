"""The worked example of docs/rewards.md works, as it is written there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from rlvr.rewards.functions import build_rewards
from rlvr.sampling.stop import StopRule
from rlvr.verify.numeric import NumericVerifier

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "docs/rewards.md").read_text().split("## A reward of your own")[1]


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", SECTION, re.DOTALL)
    assert found
    return found[1]


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """A folder with the two files."""
    (tmp_path / "my_rewards.py").write_text(block("python"))
    (tmp_path / "rewards").mkdir()
    (tmp_path / "rewards" / "gsm8k_brief.yaml").write_text(block("yaml"))
    return tmp_path


def compose(example: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "train.py"), f"hydra.searchpath=[file://{example}]",
         "rewards=gsm8k_brief", *overrides, "--cfg", "job"],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(example), "PATH": "", "RLVR_OUTPUT_DIR": str(example)},
        timeout=120,
    )  # fmt: skip


def test_the_worked_example(example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    composed = compose(example, "rewards.brevity.limit=10")
    assert composed.returncode == 0, composed.stderr
    config = OmegaConf.create(composed.stdout)
    monkeypatch.syspath_prepend(str(example))
    rewards, weights = build_rewards(
        config.rewards, verifier=NumericVerifier(), stop=StopRule(("\nQuestion:",))
    )
    assert dict(zip((r.__name__ for r in rewards), weights, strict=True)) == {
        "format": 0.5,
        "correctness": 1.0,
        "brevity": 0.1,
    }
    texts = ["a" * 10, "a" * 15, "a" * 99, "a\nQuestion: " + "b" * 99]
    assert rewards[-1](prompts=[""] * 4, completions=texts, gold=["1"] * 4) == [1.0, 0.5, 0.0, 1.0]
