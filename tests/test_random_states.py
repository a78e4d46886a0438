"""Numbers that are drawn again after a state was put back."""

import random

import numpy as np
import torch

from rlvr.random_states import random_state, set_random_state


def test_every_generator_draws_the_same_again():
    state = random_state()
    first = random.random(), np.random.rand(), torch.rand(1).item()
    assert (random.random(), np.random.rand(), torch.rand(1).item()) != first
    set_random_state(state)
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == first
