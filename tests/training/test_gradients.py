"""Which norms stop a run: those that are no numbers, and those beyond all that came before."""

import math

import pytest

from rlvr.errors import UserError
from rlvr.training.gradients import FEW, GradientGuard


@pytest.fixture
def guard(tmp_path, tokenizer):
    return GradientGuard(tmp_path, tokenizer)


def seen(guard, *norms):
    for step, norm in enumerate(norms, 1):
        guard.check(norm, step, 1e-4)


@pytest.mark.parametrize("norm", [math.nan, math.inf])
def test_what_is_no_number_stops_at_once(guard, norm):
    with pytest.raises(UserError, match=r"before optimizer step 1: (?s:.*)rate \(now 0\.0001\)"):
        seen(guard, norm)


def test_an_explosion_stops_and_a_spike_does_not(guard):
    seen(guard, *[0.5] * FEW, 90.0, 0.5)
    with pytest.raises(UserError, match=r"norm is 5000, usually 0\.5"):
        guard.check(5000.0, 13, 1e-4)


def test_the_first_norms_and_those_after_next_to_none_are_no_explosions(guard):
    seen(guard, 4000.0, *[1e-6] * 50, 0.7, 50.0)
