"""What is asked: the run's own questions, and benchmarks with prompts and rules of their own."""

import json

import pytest

from rlvr.data.load import load_splits
from rlvr.data.schedule import ShotSchedule
from rlvr.errors import UserError
from rlvr.evaluation.tasks import MAIN, tasks, validation_task
from rlvr.verify.build import build_verifier


@pytest.fixture
def asked(compose_config):
    def compose(*overrides):
        small = ["dataset=word_problems", "dataset.loader.train_size=20", "shots=2"]
        cfg = compose_config("~launcher", *small, "dataset.loader.test_size=12", *overrides)
        verifier = build_verifier(cfg.dataset)
        return tasks(cfg, load_splits(cfg.dataset, seed=cfg.seed, verifier=verifier))

    return compose


def test_a_seeded_sample_in_the_order_of_the_split(asked):
    (own,) = asked("eval.n=5", "eval=greedy")
    (again,) = asked("eval.n=5")
    (other,) = asked("eval.n=5", "dataset.loader.test_size=500")
    indices = [question["index"] for question in own.questions]
    assert own.name == MAIN
    assert indices == sorted(indices)
    assert len(set(indices)) == 5
    assert list(own.questions) == list(again.questions) != list(other.questions)


def test_what_a_benchmark_lacks_is_named_by_its_own_key(asked):
    with pytest.raises(UserError, match=r"^eval\.benchmarks\.jsonl\.path is not set"):
        asked("benchmark=jsonl")


def test_more_than_there_are_is_all(asked):
    assert len(asked("eval.n=99")[0].questions) == 12
    assert len(asked("eval.n=null", "eval.split=validation")[0].questions) == 2


def test_a_benchmark_has_its_own_prompt_verifier_and_stop(asked, tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"question": "1 + 1?", "answer": "2"}\n{"question": "2?", "answer": "2"}\n')
    node = "eval.benchmarks.jsonl"
    own, other = asked(
        "benchmark=jsonl", f"{node}.path={file}", f"{node}.prompt.solution='Answer:'",
        f"{node}.prompt.answer_prefix='So:'", f"{node}.stop.strings=['###']",
        f"{node}.verifier._target_=rlvr.verify.exact.ExactVerifier",
    )  # fmt: skip
    assert other.name == "jsonl"
    assert [question["prompt"] for question in other.questions] == [
        "Question: 1 + 1?\nAnswer:",
        "Question: 2?\nAnswer:",
    ]
    assert other.stop.strings == ("###",)
    assert other.stop.answer_prefix == "So:"
    assert other.verifier.verify(["So: 2"], ["2"])[0].correct
    assert own.stop.answer_prefix != "So:"
    assert own.questions[0]["prompt"].count("Question:") == 3


def test_where_shots_move_both_ends_are_asked_the_same_questions(compose_config):
    small = ["dataset=word_problems", "dataset.loader.train_size=20", "eval.n=5", "shots=2"]
    cfg = compose_config("~launcher", *small, "shots_schedule=linear", "benchmark=word_problems")
    verifier = build_verifier(cfg.dataset)
    splits = load_splits(
        cfg.dataset, seed=cfg.seed, verifier=verifier, schedule=ShotSchedule.of(cfg)
    )
    own, begun, other = tasks(cfg, splits)
    assert (own.name, begun.name, other.name) == (MAIN, "shots_2", "word_problems")
    for end, start in zip(own.questions, begun.questions, strict=True):
        assert start["prompt"] == splits.prompt_builder.prefix + end["prompt"]
        assert end["prompt"].count("The final answer is") == 0
        assert {**start, "prompt": ""} == {**end, "prompt": ""}
    assert splits.train[0]["prompt"].count("The final answer is") == 2
    assert splits.validation[0]["prompt"].count("The final answer is") == 0


@pytest.fixture
def looked_at(compose_config):
    def compose(*overrides):
        cfg = compose_config("dataset=word_problems", "shots=0", *overrides)
        verifier = build_verifier(cfg.dataset)
        splits = load_splits(cfg.dataset, seed=cfg.seed, verifier=verifier)
        return validation_task(cfg, splits), splits

    return compose


def test_a_pruner_asks_the_first_validation_questions(looked_at):
    task, splits = looked_at("pruner=interval", "pruner.questions=16")
    asked = [question["question"] for question in task.questions]
    assert asked == splits.validation["question"][:16]
    assert not set(asked) & set(splits.test["question"])
    assert looked_at()[0] is None, "nobody decides by it"
    few, splits = looked_at("pruner=asha", "dataset.loader.train_size=50")
    assert len(few.questions) == len(splits.validation) == 5


def test_without_validation_questions_of_its_own_a_pruner_is_refused(looked_at, tmp_path):
    with pytest.raises(
        UserError, match=r"pruner=asha decides by validation questions.*there are none"
    ):
        looked_at("pruner=asha", "dataset.validation_fraction=0")
    for name, rows in {
        "train": ["1 + 1?", "1 + 2?"],
        "validation": ["2 + 2?"],
        "test": ["2 +  2?"],
    }.items():
        lines = [json.dumps({"question": row, "answer": "4"}) + "\n" for row in rows]
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
    with pytest.raises(UserError, match="1 of them are also test questions"):
        looked_at("pruner=asha", "dataset=jsonl", f"dataset.path={tmp_path}")
