"""Of several attentions the fastest that is exact, on all ranks, and for good."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rlvr.errors import UserError
from rlvr.prefix.attention import DenseMask, TreeBlocks
from rlvr.prefix.kinds import Attentions
from rlvr.training.shared_prefix.attention_choice import AttentionChoice, Trial
from rlvr.training.shared_prefix.update import Sharing

pytestmark = pytest.mark.filterwarnings("ignore")


class Missing(DenseMask):
    """As where its compiler is not installed."""

    def __call__(self, *_: Any) -> Tensor:
        raise RuntimeError("Cannot find a working triton installation\nand a long story")


class Forgetful(DenseMask):
    """Of the first tokens nobody sees the second."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.mask[:, :, 2:, 1] = False


HERE = {"missing": Missing, "forgetful": Forgetful, "dense": DenseMask, "tree": TreeBlocks}


def choice(*names: str, records: tuple[Path, ...] = ()) -> AttentionChoice:
    return AttentionChoice(Attentions(dict.fromkeys(names, DenseMask)), records)


def trial(seconds: float) -> Trial:
    return {"differences": {}, "seconds": seconds}


@pytest.mark.parametrize(
    ("seconds", "order"),
    [
        ((1.0, 2.0, 3.0), ["a", "b", "c"]),
        ((1.1, 2.0, 1.0), ["a", "b", "c"]),  # hardly slower, and the first
        ((2.0, 3.0, 1.0), ["c", "a", "b"]),
    ],
)
def test_the_fastest_is_taken_and_the_others_stay_in_reserve(
    seconds: tuple[float, ...], order: list[str]
) -> None:
    made = choice("a", "b", "c")
    made.settle([dict(zip("abc", map(trial, seconds), strict=True))])
    assert list(made.attentions.kinds) == order
    assert not made.open


def test_ranks_decide_together() -> None:
    made = choice("a", "b", "c")
    made.settle([None, None])
    assert made.open
    broken = {"failed": "RuntimeError: no"}
    made.settle(
        [
            None,
            {"a": trial(1.0), "b": trial(1.0), "c": trial(2.0)},
            {"a": broken, "b": trial(9.0), "c": trial(2.0)},
        ]
    )
    assert list(made.attentions.kinds) == ["c", "b"]  # one waits for the slowest


def test_nothing_exact_is_an_error() -> None:
    with pytest.raises(UserError, match=r"a: X; b: Y\).*shared_prefix=off"):
        choice("a", "b").settle([{"a": {"failed": "X"}, "b": {"failed": "Y"}}])


def test_an_earlier_choice_is_taken_as_far_as_its_attentions_are_here(tmp_path: Path) -> None:
    file = tmp_path / "all" / "same.json"
    first = choice("a", "b", "c", records=(file,))
    first.settle([{"a": trial(9.0), "b": trial(1.0), "c": trial(2.0)}])
    assert first.note_failures({"b": "RuntimeError: late"})
    assert not first.note_failures({"b": "RuntimeError: late"})
    first.write()
    again = choice("a", "b", "c", records=(tmp_path / "own.json", file))
    again.take(again.made)
    assert list(again.attentions.kinds) == ["a", "c"]
    assert again.made is not None
    assert again.made["tried"]["b"]["failed"] == "RuntimeError: late"
    other = choice("d", "e", records=(file,))
    other.take(other.made)
    assert other.open
    single = choice("c", records=(file,))
    single.take(single.made)
    assert single.made is None
    assert not single.open


def train(
    harness: Any, directory: Path, records: tuple[Path, ...], **settings: Any
) -> tuple[Any, Tensor]:
    sharing = Sharing("tree", attention_records=records)
    trainer = harness.build(directory, harness.few_shot(3), sharing, max_steps=3, **settings)
    trainer.train()
    return trainer, torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlvr.training.shared_prefix.update.kinds", lambda *_: HERE)


ACCUMULATED = {"gradient_accumulation_steps": 3, "per_device_train_batch_size": 4}


@pytest.mark.parametrize("settings", [{}, ACCUMULATED], ids=["one pack", "step prefix"])
def test_a_run_tries_all_and_its_repetition_none(
    harness: Any,
    tmp_path: Path,
    several: None,
    caplog: pytest.LogCaptureFixture,
    settings: dict[str, Any],
) -> None:
    file = tmp_path / "shared_attention.json"
    with caplog.at_level(logging.INFO):
        trainer, weights = train(harness, tmp_path / "first", (file,), **settings)
    made = json.loads(file.read_text())
    assert made == trainer.attention.made
    assert set(made["order"]) == {"dense", "tree"}
    assert made["tried"]["missing"]["failed"].endswith("triton installation")
    assert "log-probabilities in float32 differ" in made["tried"]["forgetful"]["failed"]
    for name in made["order"]:
        tried = made["tried"][name]
        assert tried["seconds"] > 0
        assert tried["differences"].keys() >= {"log-probabilities", "gradients"}
        assert f"{name} attention: " in caplog.text
    caplog.clear()
    made["order"].reverse()
    file.write_text(json.dumps(made))
    with caplog.at_level(logging.INFO):
        again, same = train(harness, tmp_path / "again", (file,), **settings)
    assert list(again.attention.attentions.kinds) == made["order"]
    assert "attention: " not in caplog.text
    torch.testing.assert_close(same, weights, rtol=1e-4, atol=1e-5)


def test_one_that_fails_in_a_later_step_is_written_down(
    harness: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Tiring(TreeBlocks):
        def __call__(self, *arguments: Any) -> Tensor:
            if trainer.state.global_step == 1:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().__call__(*arguments)

    of_device = {"tiring": Tiring, "dense": DenseMask}
    monkeypatch.setattr("rlvr.training.shared_prefix.update.kinds", lambda *_: of_device)
    monkeypatch.setattr("rlvr.training.shared_prefix.attention_choice.CLEARLY", 1e9)
    file = tmp_path / "shared_attention.json"
    sharing = Sharing("tree", attention_records=(file,))
    trainer = harness.build(tmp_path, harness.few_shot(3), sharing, max_steps=3)
    trainer.train()
    assert trainer.state.global_step == 3
    made = json.loads(file.read_text())
    assert made["order"] == ["dense"]
    assert made["tried"]["tiring"]["failed"] == "OutOfMemoryError: CUDA out of memory"
    assert made["tried"]["tiring"]["seconds"] > 0


@pytest.mark.slow
def test_two_ranks_take_the_same(tmp_path: Path) -> None:
    """Where one measures otherwise, and one fails later."""
    script = Path(__file__).with_name("two_ranks_choose.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node=2", str(script), str(tmp_path)]
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ["PYTHONPATH"]])
    env = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "PYTHONPATH": path}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert first["chosen"] == ["tree", "tiring", "dense"]
    assert first["left"] == ["tree", "dense"]
