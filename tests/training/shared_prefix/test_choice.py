"""The choice between shared and stock: by time, once, and then for good."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from rlvr.training.shared_prefix.choice import CLEARLY, STEPS, Choice
from rlvr.training.shared_prefix.update import Sharing

pytestmark = pytest.mark.filterwarnings("ignore")


def measured(ratio: float) -> Choice:
    choice = Choice(())
    for step in range(1, STEPS + 1):
        noise = 50.0 if step == 1 else 1.0  # the first step loads what the others have
        choice.add(1.0, ratio * noise, step)
    return choice


@pytest.mark.parametrize(("ratio", "shared"), [(0.2, True), (1.1, True), (CLEARLY + 0.05, False)])
def test_shared_stays_unless_it_is_clearly_slower(ratio: float, shared: bool) -> None:
    choice = measured(ratio)
    assert choice.made is not None
    assert choice.shares(STEPS) is shared
    # What was measured was shared: a repeated run does the same.
    assert all(choice.shares(step) for step in range(STEPS))


def test_the_first_record_that_exists_counts(tmp_path: Path) -> None:
    files = (tmp_path / "run.json", tmp_path / "all" / "same.json")
    choice = Choice(files)
    choice.made = {"shared": False, "from_step": 3}
    choice.write()
    files[0].unlink()
    assert Choice(files).made == choice.made
    files[0].write_text(json.dumps({"shared": True, "from_step": 3}))
    assert Choice(files).shares(9)


def train(
    harness: Any, tmp_path: Path, name: str, records: tuple[Path, ...], steps: int = 5
) -> tuple[Any, torch.Tensor]:
    sharing = Sharing("auto", records=records)
    settings = {"per_device_train_batch_size": 6, "gradient_accumulation_steps": 2}
    trainer = harness.build(
        tmp_path / name, harness.few_shot(2), sharing, max_steps=steps, **settings
    )
    trainer.train()
    return trainer, torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


def test_a_run_that_is_slower_goes_on_as_stock_and_so_does_its_repetition(
    harness: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    records = (tmp_path / "shared_prefix.json",)
    monkeypatch.setattr("rlvr.training.shared_prefix.choice.CLEARLY", 0.0)
    with caplog.at_level(logging.INFO):
        trainer, weights = train(harness, tmp_path, "first", records)
    assert not trainer.shares
    assert "stock from step 3 on" in caplog.text
    timed = [x for x in trainer.state.log_history if "perf/seconds_update_stock" in x]
    assert len(timed) == STEPS
    record = json.loads(records[0].read_text())
    assert record["from_step"] == 3
    assert record["seconds_a_row"].keys() == {"stock", "shared"}
    monkeypatch.setattr("rlvr.training.shared_prefix.choice.CLEARLY", 1e9)
    again, same = train(harness, tmp_path, "again", records)
    assert not again.shares
    assert torch.equal(weights, same)


def test_a_named_attention_is_not_timed(harness: Any, tmp_path: Path) -> None:
    trainer = harness.build(tmp_path, harness.few_shot(1), Sharing("tree"), max_steps=4)
    trainer.train()
    assert not any("perf/seconds_update_stock" in x for x in trainer.state.log_history)
