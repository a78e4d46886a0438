"""The common prefix: once per optimizer step, and once per batch of old log-probabilities."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlvr.prefix.trie import TokenRow, pack
from rlvr.training.shared_prefix import scoring
from rlvr.training.shared_prefix.step_prefix import StepPrefix, common_prefix, leading, without
from rlvr.training.shared_prefix.update import Sharing

pytestmark = pytest.mark.filterwarnings("ignore")

Lists = list[tuple[list[int], list[int]]]


def row(index: int, prompt: list[int], completion: list[int]) -> TokenRow:
    tokens = np.array(prompt + completion)
    labels = np.where(np.arange(1, len(tokens)) >= len(prompt), tokens[1:], -100)
    return TokenRow(index, tokens[:-1], labels, np.arange(len(completion)))


token = st.integers(1, 3)
pairs = st.lists(
    st.tuples(st.lists(token, min_size=1, max_size=6), st.lists(token, min_size=1, max_size=4)),
    min_size=1,
    max_size=5,
)


@given(pairs)
def test_a_prefix_is_what_all_rows_begin_with_before_anything_is_scored(rows: Lists) -> None:
    made = [row(i, *pair) for i, pair in enumerate(rows)]
    prefix = common_prefix(made).tolist()
    n = len(prefix)
    assert all(prompt[:n] == prefix and n < len(prompt) for prompt, _ in rows)
    longer = {tuple(prompt[: n + 1]) for prompt, _ in rows if n + 1 < len(prompt)}
    assert len(longer) != 1 or any(n + 1 == len(prompt) for prompt, _ in rows)


@given(pairs)
def test_a_pack_without_its_prefix_scores_the_same_tokens(rows: Lists) -> None:
    made = [row(i, *pair) for i, pair in enumerate(rows)]
    packed, prefix = pack(made), common_prefix(made)
    n = leading(packed, prefix)
    assert n == len(prefix)
    rest = without(packed, n)
    assert len(rest) == len(packed) - n
    assert (rest.sources >= 0).all()
    assert rest.labels[rest.sources].tolist() == packed.labels[packed.sources].tolist()
    assert rest.position_ids[rest.sources].tolist() == packed.position_ids[packed.sources].tolist()


@pytest.fixture
def counted(harness: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Train; prefixes made with a graph and without one, and tokens embedded."""

    def run(**settings: Any) -> tuple[int, int, int, Any]:
        made: list[bool] = []
        begin = StepPrefix.__init__

        def counting(self: Any, tokens: Any, model: Any, kind: Any, cast: Any, train: bool) -> None:
            made.append(train)
            begin(self, tokens, model, kind, cast, train)

        monkeypatch.setattr(scoring.StepPrefix, "__init__", counting)
        sharing = Sharing("tree", self_check=False)
        trainer = harness.build(tmp_path, harness.few_shot(4), sharing, **settings)
        seen: list[int] = []

        def count(_: Any, inputs: Any, __: Any) -> None:
            seen.append(inputs[0].numel() * torch.is_grad_enabled())

        trainer.model.get_input_embeddings().register_forward_hook(count)
        trainer.train()
        return made.count(True), made.count(False), sum(seen), trainer

    return run


ACCUMULATED = {"gradient_accumulation_steps": 3, "per_device_train_batch_size": 4}


def test_one_pass_for_all_micro_batches_of_a_step(counted: Any) -> None:
    assert counted(max_steps=2, **ACCUMULATED)[:2] == (2, 0)


def test_every_distinct_token_goes_through_once(counted: Any, harness: Any) -> None:
    """A group to a micro-batch: then nothing else is common to two of them."""
    *_, embedded, trainer = counted(**ACCUMULATED)
    batch = [(prompt, [*completion, 1]) for prompt, completion in harness.few_shot(4)]
    whole = pack([row(i, *pair) for i, pair in enumerate(batch)])
    assert embedded == len(whole)
    logged = trainer.state.log_history[0]["perf/packing_ratio"]
    width = max(len(p) for p, _ in batch) + max(len(c) for _, c in batch)
    assert logged == pytest.approx(len(batch) * width / len(whole), rel=0.01)


def test_one_pass_for_old_and_one_for_reference_log_probabilities(counted: Any) -> None:
    made = counted(num_iterations=2, max_steps=2, beta=0.1, **ACCUMULATED)
    assert made[:2] == (2, 2)


def test_a_step_of_one_micro_batch_needs_none(counted: Any) -> None:
    assert counted(max_steps=2)[:2] == (0, 0)


def test_without_its_backward_pass_a_gradient_would_be_wrong(
    harness: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the tests which compare gradients can fail."""

    def gradient() -> torch.Tensor:
        sharing = Sharing("tree", self_check=False)
        settings = {"optim": "sgd", "learning_rate": 1.0, "max_grad_norm": 0.0, **ACCUMULATED}
        trainer = harness.build(tmp_path, harness.few_shot(4), sharing, **settings)
        before = [p.detach().clone() for p in trainer.model.parameters()]
        trainer.train()
        after = trainer.model.parameters()
        return torch.cat([(a - p).flatten() for a, p in zip(before, after, strict=True)])

    right = gradient()
    monkeypatch.setattr(StepPrefix, "backward", lambda self: None)
    assert (gradient() - right).norm() > 0.1 * right.norm()
