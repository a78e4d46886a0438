"""What several tests of the safeguards need: the check before training, run; batches, made."""

import numpy as np
import pytest

from rlvr.config.steps import Steps
from rlvr.data.load import load_splits
from rlvr.rewards.build import build_rewards
from rlvr.rewards.reward import Reward
from rlvr.safeguards.gold_answers import check_golds
from rlvr.safeguards.health_signals import Batch
from rlvr.verify.build import build_verifier
from rlvr.verify.numeric import NumericVerifier


@pytest.fixture(scope="session")
def checked(compose_config):
    """Check a configuration's rewards, or the given functions, on its data."""

    def check(*overrides, functions=None, verifier=None):
        sizes = ("dataset.loader.train_size=40", "dataset.loader.test_size=8")
        small = sizes if "dataset=word_problems" in overrides else ()
        cfg = compose_config("~launcher", "shots=2", *small, *overrides)
        verifier = verifier or build_verifier(cfg.dataset)
        splits = load_splits(cfg.dataset, seed=1, verifier=verifier)
        rewards = build_rewards(cfg.rewards)
        if functions is not None:
            rewards = [Reward(f.__name__, f, 1.0, {}) for f in functions]
        return check_golds(rewards, splits, Steps(count=100, completions=32, rollouts=100 * 32))

    return check


@pytest.fixture(scope="session")
def batch():
    """Completions as a batch; by default two to a prompt, and paid for format and correctness."""

    def made(texts, golds, *, prompts=None, rewards=None, paid=None):
        verdicts = NumericVerifier().verify(texts, golds)
        columns = rewards or [[float(v.format_ok), float(v.correct)] for v in verdicts]
        matrix = np.array(columns, dtype=float)
        weights = [0.5, 1.0] if matrix.shape[1] == 2 else np.ones(matrix.shape[1])
        return Batch(
            prompts=prompts or [f"prompt {n // 2}" for n in range(len(texts))],
            questions=[f"question {n // 2}" for n in range(len(texts))],
            raw=texts,
            texts=texts,
            lengths=[len(text) for text in texts],
            golds=golds,
            verdicts=verdicts,
            rewards=matrix,
            totals=matrix @ weights,
            paid=np.array(paid if paid is not None else matrix[:, -1], dtype=float),
        )

    return made
