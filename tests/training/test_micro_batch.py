"""A run keeps the micro-batch that it began with, wherever it goes on."""

import pytest

from rlvr.data.load import load_splits
from rlvr.errors import UserError
from rlvr.machine import GIB, Machine
from rlvr.training import micro_batch
from rlvr.verify.build import build_verifier

SMALL = ["model=tiny", "dataset=word_problems", "shots=2", "trainer.batch_size=32"]


@pytest.fixture(scope="module")
def settled(compose_config):
    cfg = compose_config(*SMALL)
    splits = load_splits(cfg.dataset, seed=1, verifier=build_verifier(cfg.dataset))

    def settle(run_dir, memory, *overrides):
        run_dir.mkdir(exist_ok=True)
        machine = Machine("this machine", 0, memory)
        return micro_batch.settle(compose_config(*SMALL, *overrides), run_dir, splits, machine)

    return settle


@pytest.mark.parametrize("less_at_first", [True, False])
def test_more_or_less_memory_does_not_change_it(settled, tmp_path, less_at_first):
    tight = settled(tmp_path / "any", 64 * GIB).memory.peak * 1.01
    memory = (tight, 64 * GIB) if less_at_first else (64 * GIB, tight)
    began, anew = (settled(tmp_path / str(m), m).batch for m in memory)
    assert began.micro != anew.micro
    assert settled(tmp_path / str(memory[0]), memory[1]).batch == began


def test_one_that_cannot_fit_is_refused(settled, tmp_path):
    began = settled(tmp_path, 64 * GIB)
    with pytest.raises(UserError, match=f"began with {began.batch.micro} completions .* GiB"):
        settled(tmp_path, began.memory.peak * 0.9)
    assert settled(tmp_path, began.memory.peak * 1.01).batch == began.batch, "tight is no refusal"


def test_one_that_is_set_is_not_recorded(settled, tmp_path):
    settled(tmp_path, 64 * GIB, "trainer.micro_batch_size=4")
    assert not (tmp_path / micro_batch.FILE).exists()
