"""A directory belongs to one configuration."""

import json
from functools import reduce

import pytest
from omegaconf import OmegaConf

from rlvr.run_directory import IDENTITY, LATER, claim_directory

CHECKPOINT = "checkpoints/checkpoint-2"


@pytest.fixture
def claim(compose_config, tmp_path):
    def claimed(*overrides, ranks=1):
        claim_directory(compose_config("~launcher", *overrides), tmp_path, ranks)
        return tmp_path

    return claimed


def leave(folder):
    (folder / CHECKPOINT).mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("{}")


def test_the_same_configuration_keeps_what_it_left(claim):
    leave(claim())
    folder = claim()
    assert (folder / CHECKPOINT).is_dir()
    assert (folder / "metrics.jsonl").exists()


@pytest.mark.parametrize(
    "kept",
    [
        ["eval.n=5"],
        ["tracking=none"],
        ["output_dir=/tmp"],
        ["trainer.resume=false"],
        ["trainer.save_steps=3"],
        ["trainer.save_minutes=1"],
    ],
)
def test_what_training_does_not_depend_on_is_no_other_configuration(claim, kept):
    leave(claim())
    assert (claim(*kept) / CHECKPOINT).is_dir()


@pytest.mark.parametrize(
    "changed",
    [["shots=2"], ["seed=1"], ["trainer.learning_rate=1e-5"], ["rewards=random"], ["model=tiny"]],
)
def test_another_configuration_finds_an_empty_place(claim, changed, caplog):
    leave(claim())
    folder = claim(*changed)
    assert not (folder / CHECKPOINT).exists()
    assert not (folder / "metrics.jsonl").exists()
    assert (folder / "old-1" / CHECKPOINT).is_dir()
    assert "moved to old-1/" in caplog.text
    leave(folder)
    claim()
    assert (folder / "old-2/metrics.jsonl").exists()


def test_another_number_of_ranks_is_another_run(claim):
    leave(claim(ranks=1))
    assert not (claim(ranks=2) / CHECKPOINT).exists()


def test_where_a_server_is_does_not_matter(claim):
    leave(claim("trainer.vllm.server=127.0.0.1:8700"))
    assert (claim("trainer.vllm.server=127.0.0.1:8701") / CHECKPOINT).exists()


def test_what_nobody_has_signed_is_not_trusted(claim, tmp_path):
    leave(tmp_path)
    assert not (claim() / CHECKPOINT).exists()
    assert json.loads((tmp_path / IDENTITY).read_text())["seed"] == 42


def test_a_run_that_was_begun_before_there_were_schedules_goes_on(compose_config, tmp_path):
    cfg = compose_config()
    old = OmegaConf.to_container(cfg, resolve=True)
    for key in LATER:
        *groups, name = key.split(".")
        del reduce(lambda node, group: node[group], groups, old)[name]
    digests = set()
    for place, values in enumerate((cfg, OmegaConf.create(old, flags={"allow_objects": True}))):
        folder = tmp_path / str(place)
        folder.mkdir()
        claim_directory(values, folder, 1)
        digests.add((folder / IDENTITY).read_text())
    assert len(digests) == 1


@pytest.mark.parametrize("key", LATER)
def test_settings_that_came_later_are_part_of_what_a_directory_belongs_to(claim, key):
    other = {"shots_schedule": "linear", "dataset.exemplar_choice": "random",
             "dataset.exemplar_order": "reversed", "dataset.exemplar_seed": 1, "shots_end": 1,
             "shots_until": 0.2, "shots_probability": 0.2,
             "trainer.dynamic_sampling": 1, "trainer.revisit": 0.5, "trainer.downsample_from": 9,
             "trainer.vllm.speculation": "ngram",
             "dataset.train_order": "easy_first", "dataset.pass_rates": "x.jsonl"}  # fmt: skip
    leave(claim())
    assert not (claim(f"{key}={other[key]}") / CHECKPOINT).exists()
