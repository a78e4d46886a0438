"""The worked example of docs/rewards.md works, as it is written there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from rlvr.rewards.build import build_rewards
from rlvr.verify.verdict import Reason, Verdict

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "docs/rewards.md").read_text().split("## A reward of your own")[1]
SECTION = SECTION.split("\n## ")[0]


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
    rewards = build_rewards(config.rewards)
    assert {reward.__name__: reward.weight for reward in rewards} == {
        "format": 0.5,
        "correctness": 1.0,
        "brevity": 0.1,
    }
    texts = ["a" * 10, "a" * 15, "a" * 99, "a"]
    right, wrong = Verdict(1.0, Reason.CORRECT), Verdict(0.0, Reason.WRONG)
    paid = rewards[-1](prompts=[""] * 4, completions=texts, verdicts=[right] * 3 + [wrong])
    assert paid == [1.0, 0.5, 0.0, 0.0]


def test_the_line_with_a_reward_of_trls(tmp_path: Path) -> None:
    line = re.search(r"python train.py ('\+rewards.*)\n", SECTION)
    assert line
    (override,) = shlex.split(line[1])
    composed = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), override, "--cfg", "job"],
        capture_output=True,
        text=True,
        env={"PATH": "", "RLVR_OUTPUT_DIR": str(tmp_path)},
        timeout=120,
    )
    assert composed.returncode == 0, composed.stderr
    *_, long = build_rewards(OmegaConf.create(composed.stdout).rewards)
    verdicts = [Verdict(0.0, Reason.WRONG)] * 3
    ids = [[1] * length for length in (192, 224, 300)]
    assert long([""] * 3, [""] * 3, verdicts=verdicts, completion_ids=ids) == [0.0, -0.5, -1.0]


def test_every_parameter_that_the_table_names_is_given() -> None:
    from rlvr.rewards.columns import BESIDES, LISTS

    assert all(f"`{name}`" in SECTION for name in (*LISTS, *BESIDES))
