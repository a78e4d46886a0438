"""Rows without advantage: not computed, yet the gradient is stock's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rlvr.training.shared_prefix.skipping import PROPORTIONAL, skippable
from rlvr.training.shared_prefix.update import Sharing

pytestmark = pytest.mark.filterwarnings("ignore")


def half(prompts: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
    """All rows of every second group have the same reward."""
    order = list(dict.fromkeys(prompts))
    return [
        float(sum(ids) % 97) if order.index(prompt) % 2 else 1.0
        for prompt, ids in zip(prompts, completion_ids, strict=True)
    ]


def nothing(prompts: list[str], **_: Any) -> list[float]:
    return [1.0] * len(prompts)


@pytest.fixture
def train(harness: Any, tmp_path: Path) -> Callable[..., tuple[Tensor, dict[str, Any]]]:
    """Weights after training, in one vector, and what the last step logged."""

    def run(sharing: Any, batch: Any = None, **settings: Any) -> tuple[Tensor, dict[str, Any]]:
        batch = batch or harness.few_shot(2, groups=4)
        settings = {"optim": "sgd", "max_grad_norm": 0.0, **settings}
        trainer = harness.build(tmp_path, batch, sharing, **settings)
        trainer.train()
        logged = [entry for entry in trainer.state.log_history if "loss" in entry]
        weights = torch.cat([p.detach().flatten() for p in trainer.model.parameters()])
        return weights, logged[-1]

    return run


@pytest.mark.parametrize("shared_prefix", ["off", "tree"])
@pytest.mark.parametrize("loss_type", sorted(PROPORTIONAL))
def test_every_loss_keeps_its_normaliser(train: Any, loss_type: str, shared_prefix: str) -> None:
    # A second iteration has old log-probabilities, which make ratios other than one.
    settings = {"loss_type": loss_type, "num_iterations": 2, "max_steps": 2, "reward": half}
    stock, _ = train(None, **settings)
    ours, logged = train(Sharing(shared_prefix), **settings)
    torch.testing.assert_close(ours, stock, rtol=0, atol=1e-6)
    assert logged["perf/trained_rows"] == 0.5


def test_skipped_rows_are_not_forwarded(
    train: Any, harness: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rlvr.training.shared_prefix import scoring

    seen: list[int] = []
    pack = scoring.pack
    monkeypatch.setattr(scoring, "pack", lambda rows: seen.append(len(rows)) or pack(rows))
    train(Sharing("tree", self_check=False), reward=half)
    assert seen == [8]
    train(Sharing("tree", skip_zero_advantage=False, self_check=False), reward=half)
    assert seen == [8, 16]


def test_logged_entropy_is_that_of_the_trained_rows(train: Any, harness: Any) -> None:
    batch = harness.few_shot(2, groups=2)
    _, ours = train(Sharing("tree"), batch, reward=half)
    trained = batch[4:] if ours["perf/trained_rows"] == 0.5 else []
    _, alone = train(Sharing("tree"), trained, reward=harness.reward)
    # Which group came first in the shuffled batch decides which one `half` leaves out.
    _, other = train(Sharing("tree"), batch[:4], reward=harness.reward)
    assert any(ours["entropy"] == pytest.approx(x["entropy"], rel=1e-5) for x in (alone, other))


@pytest.mark.parametrize("shared_prefix", ["off", "tree"])
def test_a_step_without_any_advantage_is_a_step_with_zero_gradient(
    train: Any, shared_prefix: str
) -> None:
    """AdamW still decays weights and moments: a gradient of zero is not a missing one."""
    settings = {"reward": nothing, "optim": "adamw_torch", "weight_decay": 0.1}
    stock, _ = train(None, **settings)
    ours, logged = train(Sharing(shared_prefix), **settings)
    assert torch.equal(ours, stock)
    assert logged["perf/trained_rows"] == 0.0
    assert logged["entropy"] is None


@pytest.mark.parametrize(
    "settings",
    [{"beta": 0.1}, {"entropy_coef": 0.1}, {"top_entropy_quantile": 0.5}],
    ids=lambda settings: next(iter(settings)),
)
def test_other_terms_of_the_loss_forbid_skipping(
    harness: Any, tmp_path: Path, settings: dict[str, Any]
) -> None:
    trainer = harness.build(tmp_path, harness.few_shot(1), Sharing("tree"), **settings)
    assert not skippable(trainer)
