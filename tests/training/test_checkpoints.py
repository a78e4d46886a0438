"""A directory belongs to one configuration."""

import json

import pytest

from rlvr.training.checkpoints import CHECKPOINTS, IDENTITY, claim_directory, last_checkpoint


@pytest.fixture
def claim(compose_config, tmp_path):
    def claimed(*overrides, ranks=1):
        claim_directory(compose_config("~launcher", *overrides), tmp_path, ranks)
        return tmp_path

    return claimed


def leave(folder):
    (folder / CHECKPOINTS / "checkpoint-2").mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("{}")


def test_the_same_configuration_keeps_what_it_left(claim):
    leave(claim())
    folder = claim()
    assert last_checkpoint(folder).name == "checkpoint-2"
    assert (folder / "metrics.jsonl").exists()


@pytest.mark.parametrize(
    "kept", [["eval.n=5"], ["tracking=none"], ["output_dir=/tmp"], ["trainer.resume=false"]]
)
def test_what_training_does_not_depend_on_is_no_other_configuration(claim, kept):
    leave(claim())
    assert last_checkpoint(claim(*kept))


@pytest.mark.parametrize(
    "changed",
    [["shots=2"], ["seed=1"], ["trainer.learning_rate=1e-5"], ["rewards=random"], ["model=tiny"]],
)
def test_another_configuration_finds_an_empty_place(claim, changed, caplog):
    leave(claim())
    folder = claim(*changed)
    assert last_checkpoint(folder) is None
    assert not (folder / "metrics.jsonl").exists()
    assert (folder / "old-1" / CHECKPOINTS / "checkpoint-2").is_dir()
    assert "moved to old-1/" in caplog.text
    leave(folder)
    claim()
    assert (folder / "old-2/metrics.jsonl").exists()


def test_another_number_of_ranks_is_another_run(claim):
    leave(claim(ranks=1))
    assert last_checkpoint(claim(ranks=2)) is None


def test_what_nobody_has_signed_is_not_trusted(claim, tmp_path):
    leave(tmp_path)
    assert last_checkpoint(claim()) is None
    assert json.loads((tmp_path / IDENTITY).read_text())["seed"] == 42


def test_no_checkpoint_yet(tmp_path):
    assert last_checkpoint(tmp_path) is None
