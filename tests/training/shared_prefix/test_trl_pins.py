"""The parts of TRL that shared_prefix builds on, as they were when it was proven exact."""

import hashlib
import inspect
from collections.abc import Callable
from typing import Any

import pytest
import trl
import trl.trainer.utils as utils
from trl import GRPOTrainer

PINNED: dict[Callable[..., Any], str] = {
    GRPOTrainer._get_per_token_logps_and_entropies: "ea73c3909275851d",
    GRPOTrainer._compute_loss: "80295546bbdbf6f7",
    GRPOTrainer._prepare_inputs: "f824e7fb07147956",
    GRPOTrainer._generate: "2a27fdf8f5e6f356",
    GRPOTrainer.training_step: "9e18632f7dd8e8d8",
    utils.add_fused_lm_head: "422d009f04b66659",
    utils.split_tensor_dict: "b61a5760a03e95db",
}


@pytest.mark.parametrize("function", PINNED, ids=lambda f: f.__qualname__)
def test_trl_is_the_one_that_was_proven(function: Callable[..., Any]) -> None:
    source = inspect.getsource(inspect.unwrap(function))
    digest = hashlib.sha256(source.encode()).hexdigest()[:16]
    assert digest == PINNED[function], (
        f"TRL {trl.__version__} changed {function.__qualname__}{inspect.signature(function)}: read "
        "what changed, see that rlvr/training/shared_prefix still computes stock's log-probs and "
        f"losses (the tests beside this one), and then pin {digest!r} here."
    )
