"""The data of a sweep's jobs is read once where they share it, and never downloaded for others."""

import json

import pytest

from rlvr import preview
from rlvr.check import composing
from rlvr.data import load
from rlvr.sweep.data import SweepData

SMALL = ("experiment=debug", "dataset.loader.train_size=40", "dataset.loader.test_size=8")


def composed(*overrides):
    with composing([], None) as searched:
        return preview.compose_jobs([*searched, *SMALL, *overrides])


@pytest.fixture
def reads(monkeypatch):
    """Which datasets were read, with how many shots."""
    seen, original = [], load._call_loader

    def counting(cfg, seed, *needed):
        seen.append((cfg.name, cfg.num_shots, seed))
        return original(cfg, seed, *needed)

    monkeypatch.setattr(load, "_call_loader", counting)
    return seen


@pytest.fixture
def rows(tmp_path):
    """A file of three questions, and exemplars that name the second one."""
    (tmp_path / "rows.jsonl").write_text(
        "".join(json.dumps({"question": f"q{n}", "answer": n}) + "\n" for n in range(3))
    )
    (tmp_path / "shown.jsonl").write_text(
        "".join(
            json.dumps({"question": q, "solution": "s", "answer": "1"}) + "\n" for q in ("e1", "e2")
        )
        + json.dumps({"question": "e3", "solution": "s", "answer": "many"})
        + "\n"
    )
    return tmp_path


def test_data_is_read_once_for_all_that_share_it(reads):
    data = SweepData(here=True)
    jobs = composed("shots=0,2,4", "trainer.learning_rate=1e-4,2e-4")
    assert data.all_problems(jobs) == {}
    assert reads == [("word_problems", 4, 42)]
    assert [(data.of(job).train, data.of(job).questions) for job in jobs] == [(36, 8)] * 6
    assert data.problems(composed("shots=0,2")) == {}, "nor again for a later batch"
    assert len(reads) == 1
    data.problems(composed("shots=2,8", "seed=42,43"))
    assert reads[1:] == [("word_problems", 8, 42), ("word_problems", 8, 43)]


def test_only_the_jobs_that_show_a_bad_exemplar_are_refused(rows):
    own = (
        *("dataset=jsonl", f"dataset.path={rows}/rows.jsonl", "trainer.max_steps=2"),
        *(f"dataset.exemplars={rows}/shown.jsonl", "trainer.batch_size=8"),
    )
    with composing([], None) as searched:
        jobs = preview.compose_jobs([*searched, "model=tiny", "peft=none", *own, "shots=0,2,3"])
    ((text, refused),) = SweepData(here=True).all_problems(jobs).items()
    assert "shown.jsonl, exemplar 3: 'many'" in text
    assert [job.name for job in refused] == ["shots=3"]


def test_configuration_and_data_are_told_together():
    jobs = composed("dataset.loader.train_size=0,40", "trainer.beta=0,-1")
    found = SweepData(here=True).all_problems(jobs)
    assert {text.partition("=")[0]: [job.index for job in bad] for text, bad in found.items()} == {
        "trainer.beta": [1, 3],
        "dataset.loader.train_size": [0],
    }


def test_for_other_machines_nothing_is_downloaded(monkeypatch):
    import datasets
    import huggingface_hub

    def download(*_, **__):
        raise AssertionError("asked the hub")

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", download)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    data = SweepData(here=False)
    with composing([], None) as searched:
        jobs = preview.compose_jobs([*searched, "peft=none", "shots=0,8"])
    assert data.all_problems(jobs) == {}
    assert data.of(jobs[0]) is None
    assert datasets.config.HF_HUB_OFFLINE is False


def test_a_loader_of_the_users_own_is_left_to_the_jobs_machine(tmp_path, monkeypatch):
    (tmp_path / "own_loader_of_a_sweep.py").write_text(
        "def load(path, seed, **others):\n    raise OSError('no disk')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    jobs = composed("shots=0,2", "dataset.loader._target_=own_loader_of_a_sweep.load")
    assert SweepData(here=False).all_problems(jobs) == {}
    ((text, refused),) = SweepData(here=True).all_problems(jobs).items()
    assert text == (
        "own_loader_of_a_sweep.load raised OSError: no disk (own_loader_of_a_sweep.py:2)"
    )
    assert refused == jobs
