"""A step has as many completions on every machine; what does not divide meets what does."""

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from rlvr.config.batch import Batch, derive, problems, processes
from rlvr.config.schema import Config


def settings(**trainer):
    return OmegaConf.merge(OmegaConf.structured(Config), {"trainer": trainer})


def test_the_whole_share_of_a_process_where_it_fits():
    assert derive(settings(), 1, lambda micro: True) == Batch(32, 1, 32)
    assert derive(settings(), 4, lambda micro: True) == Batch(32, 4, 8)


def test_else_the_largest_part_that_fits():
    assert derive(settings(), 1, lambda micro: micro <= 12) == Batch(32, 1, 8)
    assert derive(settings(), 1, lambda micro: False) == Batch(32, 1, 1)
    assert Batch(32, 1, 8).accumulation == 4
    assert Batch(32, 4, 8).accumulation == 1


def test_a_micro_batch_that_is_set_is_kept():
    cfg = settings(micro_batch_size=4)
    assert derive(cfg, 2, lambda micro: False) == Batch(32, 2, 4)


@pytest.mark.parametrize(
    ("trainer", "gpus", "expected"),
    [
        ({}, 0, 1),
        ({}, 4, 4),
        ({}, 3, 2),
        ({"batch_size": 24}, 5, 4),
        ({"num_processes": 2}, 8, 2),
        ({"distributed": "none"}, 8, 1),
    ],
)
def test_as_many_processes_as_divide_the_batch(trainer, gpus, expected):
    assert processes(settings(**trainer), gpus) == expected


@pytest.mark.parametrize(
    ("trainer", "expected"),
    [
        ({"batch_size": 30}, "use a batch_size of 24 or 32, or num_generations 6 or 10"),
        ({"batch_size": 4}, "use a batch_size of 8, or num_generations 4"),
        ({"num_processes": 3}, "use 2 or 4 processes, or a batch_size of 24 or 48"),
        ({"micro_batch_size": 12}, "use 8 or 16, or null"),
        ({"micro_batch_size": 64}, "use 32, or null"),
        ({"micro_batch_size": 32, "num_processes": 4}, "the 8 completions of an optimizer step of"),
        (
            {"batch_size": 6, "optimizer_steps_per_generation": 4, "num_generations": 16},
            "batch_size=6 in 4 steps on each generation batch",
        ),
    ],
)
def test_what_does_not_divide_is_refused_with_the_nearest(trainer, expected):
    assert expected in "\n".join(problems(settings(**trainer)))


def test_a_group_may_be_spread_over_the_steps_of_its_generation_batch():
    assert not [*problems(settings(batch_size=4, optimizer_steps_per_generation=4))]


@pytest.mark.slow
@hypothesis_settings(deadline=None)
@given(
    st.integers(1, 300),
    st.integers(2, 40),
    st.integers(1, 9) | st.none(),
    st.integers(1, 70) | st.none(),
    st.integers(1, 6),
)
def test_what_is_advised_is_accepted(size, group, count, micro, rounds):
    """Every batch_size that a message names has no problem with groups and processes."""
    keys = {
        "num_generations": group,
        "num_processes": count,
        "optimizer_steps_per_generation": rounds,
    }
    for problem in problems(settings(batch_size=size, micro_batch_size=micro, **keys)):
        if "a batch_size of " not in problem:
            continue
        advised = problem.split("a batch_size of ")[1].split(", or num")[0].split(" or ")
        for value in advised:
            assert not [*problems(settings(batch_size=int(value), **keys))]
