"""How a run is laid out on a machine: the largest micro-batch that fits, and what would fit."""

import pytest

from rlvr import estimate
from rlvr.data.load import load_splits
from rlvr.machine import Machine
from rlvr.verify.build import build_verifier

SMALL = [
    *("~launcher", "dataset=word_problems", "shots=2", "peft=none"),
    *("trainer.batch_size=64", "trainer.gradient_checkpointing=false"),
]


@pytest.fixture
def cfg(compose_config, saved_model):
    return compose_config(*SMALL, f"model.path={saved_model}")


@pytest.fixture
def splits(cfg):
    return load_splits(cfg.dataset, seed=1, verifier=build_verifier(cfg.dataset))


def machine(megabytes):
    return Machine("small", 0, megabytes * 1e6)


def test_the_micro_batch_is_the_largest_that_fits(cfg, splits):
    sizes = [estimate.plan(cfg, splits, machine(mb), 1).batch.micro for mb in (9000, 300, 90, 10)]
    assert sizes == sorted(sizes, reverse=True)
    assert (sizes[0], sizes[-1]) == (64, 1)
    assert len({*sizes}) == 4
    assert not estimate.plan(cfg, splits, machine(10), 1).fits
    assert estimate.plan(cfg, splits, machine(5000), 4).batch.micro == 16


def test_a_micro_batch_that_is_set_may_not_fit_and_the_nearest_that_does_is_named(cfg, splits):
    cfg.trainer.micro_batch_size = 64
    small = machine(90)
    found = estimate.plan(cfg, splits, small, 1)
    assert (found.batch.micro, found.fits) == (64, False)
    (advice,) = estimate.nearest_that_fits(cfg, splits, small, 1)
    cfg.trainer.micro_batch_size = int(advice.removeprefix("trainer.micro_batch_size="))
    assert estimate.plan(cfg, splits, small, 1).fits
    assert estimate.nearest_that_fits(cfg, splits, machine(1), 1) is None


def test_an_unknown_model_or_machine_takes_the_whole_share(cfg, splits):
    assert estimate.plan(cfg, splits, Machine("a node", 1, None), 1).fits
    cfg.model.path = "nobody/nothing"
    unknown = estimate.plan(cfg, splits, machine(1), 2)
    assert (unknown.batch.micro, unknown.memory, unknown.fits) == (32, None, True)


def test_the_common_prefix_of_the_prompts_is_counted_once(cfg):
    found = estimate.tokens(cfg, [[1, 2, 3, 4], [1, 2, 5], [1, 2, 3, 6, 7, 8]])
    assert (found.prefix, found.question) == (2, 3), "4 at most, 2 on average"
    assert estimate.tokens(cfg, [[1, 2]]).prefix == 2
