"""The private parts of TRL and transformers that we build on, and that they are all named."""

import ast
import inspect
import re
from pathlib import Path

import pytest
from transformers import PreTrainedConfig, PreTrainedModel, Trainer
from trl import GRPOTrainer
from trl.trainer import utils

from rlvr.training import trl_private

ROOT = Path(__file__).resolve().parents[2] / "rlvr"


def test_nothing_that_we_rely_on_has_changed() -> None:
    assert trl_private.changes() == [], (
        "Read what changed, see that rlvr/training still computes stock's log-probs and losses "
        "(tests/training/shared_prefix), then write the new digest into training/trl_private.py."
    )


def test_a_change_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(trl_private.PINNED, GRPOTrainer._compute_loss, "another")
    monkeypatch.setitem(trl_private.OF_THE_TRAINER, "_gone", "something")
    _, method, attribute = trl_private.changes()
    assert "GRPOTrainer._compute_loss(self, model, inputs) has changed" in method
    assert "self._gone (something)" in attribute


def private_names(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            names |= {name.name for name in node.names}
    return {name for name in names if name.startswith("_") and not name.startswith("__")}


def test_every_private_name_in_use_is_in_the_one_file() -> None:
    """Also finds an attribute of our own that a trainer of TRL or transformers has already."""
    files = [
        f for part in ("training", "prefix", "safeguards") for f in (ROOT / part).rglob("*.py")
    ]
    used = set().union(*(private_names(f) for f in files if f.name != "trl_private.py"))
    theirs = set().union(*(dir(x) for x in (GRPOTrainer, PreTrainedModel, PreTrainedConfig, utils)))
    for trainer in (GRPOTrainer, Trainer):
        theirs |= set(re.findall(r"self\.(_\w+)", inspect.getsource(trainer)))
    named = {f.__name__ for f in trl_private.PINNED} | trl_private.OF_THE_TRAINER.keys()
    named |= trl_private.OF_A_MODEL.keys() | trl_private.OF_A_CONFIG.keys()
    assert used & theirs <= named


def test_two_trainer_classes_at_most() -> None:
    """What the shared prefix changes, and what the product is."""
    from rlvr.training.trainer import Trainer as Ours

    ours = [c for c in Ours.__mro__ if c.__module__.startswith("rlvr.")]
    assert len(ours) == 2
