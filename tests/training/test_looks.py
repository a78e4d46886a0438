"""Looks leave no trace in training, and a run that is told to end does, with a checkpoint."""

import hashlib
import json

import pytest

from rlvr import pruning, result
from rlvr.run import run
from rlvr.single_run import start
from rlvr.training.looks import Looks

RUN = [
    *("model=tiny", "dataset=word_problems", "shots=1", "tracking=none", "peft=none"),
    *("eval=sampled", "eval.n=4", "eval.batch_size=4", "dataset.train_examples=6"),
    *("trainer.max_steps=5", "trainer.batch_size=8", "trainer.micro_batch_size=4"),
    *("trainer.num_generations=4", "trainer.max_completion_length=12"),
    *("trainer.gradient_checkpointing=false", "trainer.learning_rate=1e-3"),
    *("trainer.shared_prefix=tree", "trainer.preflight=false"),  # `auto` chooses by time
]
LOOKING = ["pruner=interval", "pruner.questions=8", "pruner.looks=[0.2,0.5]"]


def left(folder):
    weights = (folder / "model/model.safetensors").read_bytes()
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    metrics = [{k: v for k, v in r.items() if "perf/" not in k} for r in records]
    answers = (folder / "evaluations/trained.jsonl").read_text()
    return hashlib.sha256(weights).hexdigest(), metrics, answers


@pytest.mark.slow
def test_a_run_that_is_not_pruned_is_the_same_to_the_bit(compose_config, tmp_path, monkeypatch):
    run(compose_config(*RUN), tmp_path / "without")
    monkeypatch.setattr(pruning, "below_base", lambda looks: None)
    run(compose_config(*RUN, *LOOKING), tmp_path / "with")
    assert left(tmp_path / "with") == left(tmp_path / "without")
    looks = pruning.read_looks(tmp_path / "with")
    assert [(look.share, look.step, look.n) for look in looks] == [
        (0, 0, 8),
        (0.2, 1, 8),
        (0.5, 3, 8),
    ]
    asked = (tmp_path / "with/evaluations/validation_3.jsonl").read_text().splitlines()
    questions = {json.loads(line)["question"] for line in asked}
    tested = (tmp_path / "with/evaluations/trained.jsonl").read_text()
    assert not any(question in tested for question in questions)


@pytest.mark.slow
def test_a_run_that_is_told_to_end_goes_on_without_a_pruner(compose_config, tmp_path, monkeypatch):
    """And ends as if nobody had ever told it."""
    run(compose_config(*RUN), tmp_path / "whole")
    directory, cfg = tmp_path / "run", compose_config(*RUN, *LOOKING)
    take = Looks._take

    def told(looks, share, step, *others):
        take(looks, share, step, *others)
        if step == 3:
            pruning.tell(
                directory, pruning.Pruned("below the best", "run 1 has more", looks.taken[3], 1)
            )

    with monkeypatch.context() as patched:
        patched.setattr(pruning, "below_base", lambda looks: None)
        patched.setattr(Looks, "_take", told)
        assert start(cfg, directory, []) != start(cfg, directory, []), "nan: it has no score"
    found = result.read(directory)
    assert (found.status, found.metric, found.trained) == ("pruned", None, None)
    assert (found.error, found.pruned["against"]) == ("run 1 has more", 1)
    assert found.pruned["look"]["step"] == 3
    assert (directory / "checkpoints/checkpoint-3").is_dir()
    assert not (directory / "model").exists()
    start(compose_config(*RUN), directory, [])
    assert result.read(directory).status == "finished"
    assert left(directory) == left(tmp_path / "whole")


@pytest.mark.parametrize("accuracy", [0.0, 1.0])
def test_a_run_below_its_base_ends_by_itself(compose_config, tmp_path, monkeypatch, accuracy):
    take = Looks._take

    def scored(looks, share, step, *others):
        take(looks, share, step, *others)
        right = accuracy if step else 0.5
        looks.taken[step] = pruning.Look(share, step, right, right - 0.1, right + 0.1, 8)

    monkeypatch.setattr(Looks, "_take", scored)
    run(compose_config(*RUN, *LOOKING), tmp_path)
    found = result.read(tmp_path)
    assert found.status == ("pruned" if accuracy == 0 else "finished")
    if accuracy == 0:
        assert found.pruned["rule"] == "below its base"
        assert found.pruned["look"]["step"] == 1
